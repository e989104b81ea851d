"""Finding words in prompts: PostgreSQL's full-text index, a scan on SQLite.

A text matches when the prompt has each of its words; upper and lower case are the same,
and punctuation only separates words.

On PostgreSQL a planner that must guess how many prompts have a word may choose a plan
that takes minutes. Hence it does not guess:

1. Up to ``RARE`` matches are fetched by the index alone (the function in the migration
   allows no other plan), and stand for the filter.
2. With more, matches are so dense that walking the list finds a page at once; each
   prompt is then looked at with a regular expression, which costs a tenth of the
   index's own expression.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db import connection
from django.db.models import BooleanField, Func, Q, QuerySet, TextField, Value

RARE = 10_000
SEARCHED_CHARACTERS = 65536
"""How much of a prompt is in the index, which has a limit of 1 MB."""
FUNCTION = "aibridge_prompts_with"

_WORD = re.compile(r"[^\W_]+")
# What the text-search parser would take for parts of paths, names and tags.
_GLUE = "./-_@:<>&+~"
INDEX_EXPRESSION = (
    "to_tsvector('simple'::regconfig, "
    f"translate(left(prompt, {SEARCHED_CHARACTERS}), '{_GLUE}', '{' ' * len(_GLUE)}'))"
)


class _IsFound(Func):
    """Whether an interception's id is among the matches of a query."""

    template = f"%(expressions)s, {RARE})))"
    arg_joiner = f" = ANY(ARRAY(SELECT {FUNCTION}("
    output_field = BooleanField()


@dataclass(frozen=True, slots=True)
class Words:
    """The words to find, and whether more than ``RARE`` prompts have them all."""

    words: tuple[str, ...]
    are_common: bool

    def among(self, prompts: QuerySet) -> QuerySet:
        """Return the prompts that have every word, looking at each."""
        condition = Q()
        for word in self.words:
            condition &= Q(prompt__iregex=_whole(word))
        return prompts.filter(condition)

    def interceptions(self, rows: QuerySet) -> QuerySet | None:
        """Return the rows of the matches, None when that needs a look at prompts."""
        if connection.vendor != "postgresql" or self.are_common:
            return None
        query = Value(_query(self.words), output_field=TextField())
        return rows.filter(_IsFound("pk", query))


def words_in(text: str) -> tuple[str, ...]:
    """Return the words of a text, none when it is punctuation only."""
    return tuple(_WORD.findall(text))


def find_words(text: str) -> Words:
    """Return the words of a text; one query on PostgreSQL."""
    words = words_in(text)
    return Words(words, are_common=_are_common(words))


def _are_common(words: tuple[str, ...]) -> bool:
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {FUNCTION}(%s, %s)", [_query(words), RARE + 1]
        )
        return bool(cursor.fetchone()[0] > RARE)


def _query(words: tuple[str, ...]) -> str:
    return " & ".join(f"'{word}'" for word in words)


def _whole(word: str) -> str:
    if connection.vendor == "postgresql":
        return rf"\m{word}\M"
    return rf"(?:^|[\W_]){word}(?:$|[\W_])"

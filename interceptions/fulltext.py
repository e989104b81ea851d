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
from hashlib import sha256

from django.core.cache import cache
from django.db import connection
from django.db.models import Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from providers.querying import in_array

RARE = 10_000
SEARCHED_CHARACTERS = 65536
"""How much of a prompt is in the index, which has a limit of 1 MB."""
FUNCTION = "aibridge_prompts_with"
_FIND = f"""
SELECT count(*), COALESCE(array_agg(found), '{{}}')::text FROM {FUNCTION}(%s, %s) found
"""

_WORD = re.compile(r"[^\W_]+")
# What the text-search parser would take for parts of paths, names and tags.
_GLUE = "./-_@:<>&+~"
INDEX_EXPRESSION = (
    "to_tsvector('simple'::regconfig, "
    f"translate(left(prompt, {SEARCHED_CHARACTERS}), '{_GLUE}', '{' ' * len(_GLUE)}'))"
)


@dataclass(frozen=True, slots=True)
class Words:
    """The words to find.

    ``found`` has the interceptions whose prompts have them all, as the literal of an
    array; None where there are more than ``RARE``, or nobody looked. ``least`` is how
    many there are at least, 0 where nobody looked.
    """

    words: tuple[str, ...]
    found: str | None = None
    least: int = 0

    def condition(self) -> Q | None:
        """Return the condition on interceptions, None when prompts must be read."""
        return None if self.found is None else in_array("pk", self.found)

    def is_in(self, prompts: QuerySet) -> Q:
        """Return the condition that one of an outer row's prompts has every word."""
        condition = Q()
        for word in self.words:
            condition &= Q(prompt__iregex=_whole(word))
        one = prompts.filter(condition).order_by().values(found=Value(True))[:1]
        # A value, not EXISTS: of that the planner would make a join with all prompts.
        return Q(Coalesce(Subquery(one), Value(False)))


def words_in(text: str) -> tuple[str, ...]:
    """Return the words of a text, none when it is punctuation only."""
    return tuple(_WORD.findall(text))


_COMMON_SECONDS = 600


def find_words(text: str) -> Words:
    """Return the words of a text; at most one query, on PostgreSQL."""
    words = words_in(text)
    if connection.vendor != "postgresql":
        return Words(words)
    query = _query(words)
    # What is common stays so for a while; that looking took is not spent again.
    key = f"aibridge:common-words:{sha256(query.encode()).hexdigest()}"
    if number := cache.get(key):
        return Words(words, least=number)
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [query, RARE + 1])
        number, found = cursor.fetchone()
    if number <= RARE:
        return Words(words, found)
    cache.set(key, number, _COMMON_SECONDS)
    return Words(words, least=number)


def _query(words: tuple[str, ...]) -> str:
    return " & ".join(f"'{word}'" for word in words)


def _whole(word: str) -> str:
    if connection.vendor == "postgresql":
        return rf"\m{word}\M"
    return rf"(?:^|[\W_]){word}(?:$|[\W_])"

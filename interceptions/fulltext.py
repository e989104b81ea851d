"""Finding words in prompts: PostgreSQL's full-text index, a scan on SQLite.

A text matches when each of its words begins a word of the prompt; upper and lower case
are the same, and punctuation only separates words.
"""

from __future__ import annotations

import re
import string

from django.db import connection
from django.db.models import BooleanField, Func, Q, QuerySet, Value

SEARCHED_CHARACTERS = 65536
"""How much of a prompt is searched on PostgreSQL: the index has a limit of 1 MB."""

_WORD = re.compile(r"[^\W_]+")
_PUNCTUATION = string.punctuation
_BLANKS = " " * len(_PUNCTUATION)
_QUOTED = _PUNCTUATION.replace("'", "''")
_BEFORE = "to_tsvector('simple'::regconfig, translate(left("
_AFTER = f", {SEARCHED_CHARACTERS}), '{_QUOTED}', '{_BLANKS}'))"


class _Matches(Func):
    template = "(%(expressions)s)"
    arg_joiner = " @@ "
    output_field = BooleanField()


class _Query(Func):
    template = "to_tsquery('simple'::regconfig, %(expressions)s)"


def index_expression(column: str) -> str:
    """Return the SQL of what the index prompt_words holds of a column."""
    return f"{_BEFORE}{column}{_AFTER}"


class _WordsOf(Func):
    # A percent sign stands for itself after Func's and the driver's formatting.
    template = f"{_BEFORE}%(expressions)s{_AFTER.replace('%', '%%%%')}"


def words_in(text: str) -> list[str]:
    """Return the words of a text, none when it is punctuation only."""
    return _WORD.findall(text)


def with_words(prompts: QuerySet, text: str) -> QuerySet:
    """Return the prompts that have every word of the text."""
    words = words_in(text)
    if not words:
        return prompts.none()
    if connection.vendor == "postgresql":
        query = " & ".join(f"'{word}':*" for word in words)
        return prompts.filter(_Matches(_WordsOf("prompt"), _Query(Value(query))))
    condition = Q()
    for word in words:
        condition &= Q(prompt__iregex=rf"(?:^|[\W_]){word}")
    return prompts.filter(condition)

"""Questions to tables that may hold millions of rows, asked so that they stay quick."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import BooleanField, F, Func, Q, QuerySet, TextField, Value
from psycopg.errors import QueryCanceled

COUNT_MS = 60
"""How long counting the rows of a large table may take."""
LARGE = 100_000
"""Rows, roughly, that make a table large."""

_LIMIT_TIME = """
SELECT set_config('statement_timeout', %s, true), set_config('jit', 'off', true)
FROM pg_class
WHERE oid = %s::regclass AND reltuples > %s"""


class _IsOneOf(Func):
    """Whether a column holds one of many ids, given as one array."""

    template = "%(expressions)s::uuid[])"
    arg_joiner = " = ANY("
    output_field = BooleanField()


def is_one_of(column: str, ids: Iterable[UUID | str]) -> Q:
    """Return the condition on rows that hold one of the ids.

    PostgreSQL reads one array a good deal faster than a thousand parameters.
    """
    if connection.vendor != "postgresql":
        return Q(**{f"{column}__in": list(ids)})
    return in_array(column, f"{{{','.join(map(str, ids))}}}")


def in_array(column: str, array: str) -> Q:
    """Return the condition on rows that hold an id of a PostgreSQL array literal."""
    return Q(_IsOneOf(F(column), Value(array, output_field=TextField())))


def count_up_to(rows: QuerySet, most: int) -> int | None:
    """Return how many rows there are, one more than ``most`` where there are more.

    None when that took too long, which happens to large tables only.
    """
    capped = rows.order_by().values("pk")[: most + 1]
    if connection.vendor != "postgresql":
        return capped.count()
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            table = rows.model._meta.db_table
            cursor.execute(_LIMIT_TIME, [str(COUNT_MS), table, LARGE])
            count = capped.count()
            cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
            return count
    except OperationalError as error:
        # Anything else, such as a connection that broke, is no answer.
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        return None


def as_they_are(rows: QuerySet) -> QuerySet:
    """Return the rows themselves."""
    return rows


def first_rows(
    rows: QuerySet,
    order: Sequence[str],
    number: int,
    read: Callable[[QuerySet], QuerySet] = as_they_are,
) -> list[Any]:
    """Return the first rows in an order, as ``read`` gives them.

    Their keys are found before the rows are read: an index that holds what is filtered
    by answers that alone, however many rows are passed over.
    """
    ordered = rows.order_by(*order)
    keys = list(ordered.values_list("pk", flat=True)[:number])
    return list(read(ordered.filter(is_one_of("pk", keys)))) if keys else []

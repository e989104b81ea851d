"""Stores many rows at once: COPY on PostgreSQL, bulk inserts elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import connection, transaction

from interceptions.demo.columns import COLUMNS, Row, Tables
from interceptions.records import NAMES

_JSON = {"metadata", "extra", *NAMES}
_FOREIGN_KEYS = """
SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname),
  format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', conrelid::regclass, conname,
    pg_get_constraintdef(oid))
FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY(%s::regclass[])"""
_INDEXES = """
SELECT format('DROP INDEX %%s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index i WHERE indrelid = ANY(%s::regclass[]) AND NOT EXISTS
  (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)"""


@contextmanager
def whole_load() -> Iterator[None]:
    """Store everything inside in one transaction, into tables that are empty.

    On PostgreSQL indexes and foreign keys are made anew at its end, which takes a
    fraction of the time of keeping them up row by row.
    """
    with transaction.atomic():
        if connection.vendor != "postgresql":
            yield
            return
        with connection.cursor() as cursor:
            again = _take_away(cursor)
            yield
            for statement in again:
                cursor.execute(statement)


def store(tables: Tables) -> None:
    """Store the rows of all tables."""
    for name, rows in tables.items():
        if rows:
            _store_table(name, rows)


def _take_away(cursor: Any) -> list[str]:
    """Drop indexes and foreign keys; return the statements that make them again."""
    names = [_table(name) for name in COLUMNS]
    again: list[str] = []
    for query in (_FOREIGN_KEYS, _INDEXES):
        cursor.execute(query, [names])
        found = cursor.fetchall()
        for drop, _ in found:
            cursor.execute(drop)
        # Foreign keys are checked last, by their indexes.
        again = [create for _, create in found] + again
    return again


def _table(name: str) -> str:
    return apps.get_model("interceptions", name)._meta.db_table


def _store_table(name: str, rows: list[Row]) -> None:
    if connection.vendor == "postgresql":
        _copy(_table(name), COLUMNS[name], rows)
        return
    model = apps.get_model("interceptions", name)
    model._default_manager.bulk_create(
        [model(**_fields(COLUMNS[name], row)) for row in rows], batch_size=500
    )


def _copy(table: str, columns: tuple[str, ...], rows: list[Row]) -> None:
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _fields(columns: tuple[str, ...], row: Row) -> dict[str, Any]:
    values = dict(zip(columns, row, strict=True))
    return values | {name: json.loads(values[name]) for name in _JSON & values.keys()}

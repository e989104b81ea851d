"""Stores a batch of records in one transaction, in the words of the database at hand.

Idempotent: rows that exist stay as they are, the first end of an interception wins, and
a session's roll-up counts only what was really inserted or really ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from interceptions import store_postgres, store_sqlite
from interceptions.records import Batch, Record


def write(connection: BaseDatabaseWrapper, records: Iterable[Record]) -> set[UUID]:
    """Store the records; return the interceptions that were ended by this.

    Raises django.db errors. On SQLite, and wherever the connection is not in
    autocommit, the caller holds the transaction.
    """
    batch = Batch.of(records)
    if connection.vendor == "postgresql":
        return store_postgres.write(connection, batch)
    return store_sqlite.write(connection, batch)

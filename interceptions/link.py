"""Connections to the database for writing records.

A worker's writer has one of its own, outside the pool and tuned for its statements.
Without a worker, records are written over the caller's connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Protocol

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

_ALIAS = DEFAULT_DB_ALIAS
# Every statement finds few rows by index; a plan made while tables are empty or not
# analysed would read them whole.
_SESSION = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "statement_timeout": "10s",
    "lock_timeout": "5s",
}
_PREPARED: dict[str, Any] = {"server_side_binding": True, "prepare_threshold": 0}
# A database that vanished without a word is noticed by these.
_KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
}
_MOST_USES_OF_A_PLAN = 1000
_SQLITE_PATIENCE_MS = 50


class Link(Protocol):
    """A way to the database, for one thread."""

    def transaction(self) -> Any:
        """Return a context that yields a connection and commits in the end."""

    def drop(self) -> None:
        """Forget the connection after an error; never raises."""


class CallersLink:
    """The caller's connection, inside the caller's transaction if there is one."""

    @contextmanager
    def transaction(self) -> Iterator[BaseDatabaseWrapper]:
        with transaction.atomic(using=_ALIAS):
            yield connections[_ALIAS]

    def drop(self) -> None:
        if not connections[_ALIAS].in_atomic_block:
            _close(connections[_ALIAS])


class SqliteLink:
    """This thread's connection, which gives up early when another process writes.

    SQLite waits inside of C, where no other greenlet runs; so the wait is short and
    the next try is left to the caller.
    """

    @contextmanager
    def transaction(self) -> Iterator[BaseDatabaseWrapper]:
        connection = connections[_ALIAS]
        if connection.connection is None:
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {_SQLITE_PATIENCE_MS}")
        with transaction.atomic(using=_ALIAS):
            yield connection

    def drop(self) -> None:
        _close(connections[_ALIAS])


class PostgresLink:
    """A connection of its own in autocommit: each statement is a transaction.

    Plans are kept, but made anew as tables grow: after 1, 2, 4, ... uses, and so often
    that one made on empty tables does not last.
    """

    def __init__(self) -> None:
        self._connection: BaseDatabaseWrapper | None = None
        self._uses = 0
        self._plan_at = 1

    @contextmanager
    def transaction(self) -> Iterator[BaseDatabaseWrapper]:
        if self._connection is None:
            self._connection = _open()
            self._uses, self._plan_at = 0, 1
        self._uses += 1
        if self._uses > self._plan_at:
            self._plan_at += min(self._plan_at, _MOST_USES_OF_A_PLAN)
            with self._connection.cursor() as cursor:
                cursor.execute("DISCARD PLANS")
        yield self._connection

    def drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _close(connection)


def writers_link() -> Link:
    """Return a link of its own for a thread that writes and does nothing else."""
    if connections[_ALIAS].vendor == "postgresql":
        return PostgresLink()
    return SqliteLink()


def _open() -> BaseDatabaseWrapper:
    database = deepcopy(connections[_ALIAS].settings_dict)
    database["OPTIONS"].pop("pool", None)
    database["OPTIONS"] = {**_KEEPALIVES, **database["OPTIONS"], **_PREPARED}
    connection = load_backend(database["ENGINE"]).DatabaseWrapper(database, _ALIAS)
    try:
        with connection.cursor() as cursor:
            for name, value in _SESSION.items():
                cursor.execute("SELECT set_config(%s, %s, FALSE)", [name, value])
    except BaseException:
        _close(connection)
        raise
    return connection


def _close(connection: BaseDatabaseWrapper) -> None:
    try:
        connection.close()
    except Error:
        connection.connection = None

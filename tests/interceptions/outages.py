"""Databases that are away, really: refusing connections, or locked by somebody else.

``from tests.interceptions.outages import *`` brings the fixtures into a test module.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections

from interceptions import recorder, recording_process
from interceptions.recording_process import RecordingProcess

__all__ = ["commit_seconds", "database", "worker"]

# For tests that wait until a worker gives the database up. Long enough for a commit on
# a busy machine: nothing else of such a test may be given up.
impatient = pytest.mark.parametrize("commit_seconds", [3])


class Database:
    """The test database, which can be taken away from everybody but this object."""

    @contextmanager
    def away(self) -> Iterator[None]:
        """Refuse all writing (PostgreSQL: all connections) meanwhile."""
        connections.close_all()
        take = self._refusing if connection.vendor == "postgresql" else self._locked
        with take():
            yield
        connections.close_all()

    def cut(self) -> None:
        """Break every connection; new ones are welcome (PostgreSQL only)."""
        with self._elsewhere() as cursor:
            self._terminate(cursor)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        name = connection.settings_dict["NAME"]
        with self._elsewhere() as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            self._terminate(cursor)
            try:
                yield
            finally:
                cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

    @staticmethod
    def _terminate(cursor: Any) -> None:
        name = connection.settings_dict["NAME"]
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [name],
        )

    @staticmethod
    @contextmanager
    def _elsewhere() -> Iterator[Any]:
        with connection._nodb_cursor() as cursor:  # type: ignore[attr-defined]
            yield cursor

    @staticmethod
    @contextmanager
    def _locked() -> Iterator[None]:
        other = sqlite3.connect(
            connection.settings_dict["NAME"],
            timeout=30,
            isolation_level=None,
            check_same_thread=False,
        )
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()


@pytest.fixture
def database(transactional_db: None) -> Database:
    return Database()


@pytest.fixture
def commit_seconds() -> float:
    """How long a commit may take; only what a test does to the database may fail."""
    return 30


@pytest.fixture
def worker(
    transactional_db: None, settings: Any, tmp_path: Any, commit_seconds: float
) -> Iterator[RecordingProcess]:
    """Make this process a worker whose heartbeat is slow enough not to disturb."""
    settings.AIBRIDGE_DATA_DIR = tmp_path
    settings.AIBRIDGE_COMMIT_SECONDS = commit_seconds
    settings.AIBRIDGE_SWEEP_SECONDS = 3600
    recorder.begin_worker()
    yield recording_process.current()
    recorder.end_worker()
    connections.close_all()


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run ``work(number)`` in so many threads; raise what one of them raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]

"""Commits records: tries again, splits what fails, and saves what can be saved.

1. A connection that broke, or a database that is locked or away for a moment, is tried
   again. When that does not help, records fail at once until the database is back.
2. A record that cannot be stored must not take others down: a failing batch is halved
   until the culprit is alone.
3. A culprit whose references vanished is stored without them. Otherwise an end is kept
   in the dead letters and its interception ended without what belonged to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db import (
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
)

from interceptions import references, store, swept
from interceptions.facets import Facets
from interceptions.link import Link
from interceptions.records import Record

logger = logging.getLogger(__name__)

_AWAY = (OperationalError, InterfaceError, NotSupportedError)
_PAUSE_SECONDS = 0.25
_FIRST_STEP_SECONDS = 0.01
_LONGEST_STEP_SECONDS = 0.1


class DatabaseAway(Exception):
    """The database does not answer; nothing may be assumed to be stored.

    ``tried`` is False when it was not even asked, so that nothing can have been stored.
    """

    def __init__(self, reason: str, *, tried: bool = True) -> None:
        super().__init__(reason)
        self.tried = tried


class Rejected(Exception):
    """The database will not take this record."""


class Committer:
    """Writes batches over one link; for one thread at a time.

    ``bury`` keeps a record that cannot be stored, with the reason. ``patience`` is how
    many seconds a database that was there is asked again.
    """

    def __init__(
        self,
        link: Link,
        bury: Callable[[Record, str], None],
        patience: float,
        facets: Facets | None = None,
    ) -> None:
        self._link = link
        self._bury = bury
        self._patience = patience
        self._facets = facets or Facets()
        self._retry_at = 0.0
        self._has_asked = False
        self._is_away = False

    def commit(self, records: Sequence[Record]) -> dict[int, Exception]:
        """Store the records; return what failed, by position.

        Failures are DatabaseAway or Rejected. Raises nothing that a database does.
        """
        failed: dict[int, Exception] = {}
        self._commit(records, 0, failed)
        return failed

    def close(self) -> None:
        self._link.drop()

    def _commit(
        self, records: Sequence[Record], offset: int, failed: dict[int, Exception]
    ) -> None:
        try:
            self._write(records)
        except DatabaseAway as error:
            failed.update(dict.fromkeys(range(offset, offset + len(records)), error))
        except Exception as error:
            # Not only what a database raises: a value may not fit its field.
            if len(records) > 1:
                half = len(records) // 2
                self._commit(records[:half], offset, failed)
                self._commit(records[half:], offset + half, failed)
            elif (lost := self._rescue(records[0], error)) is not None:
                failed[offset] = lost

    def _write(self, records: Sequence[Record]) -> None:
        if time.monotonic() < self._retry_at:
            raise DatabaseAway("the database was away a moment ago", tried=False)
        reason = ""
        self._has_asked = False
        for _ in self._tries():
            try:
                self._write_once(records)
                self._is_away = False
                return
            except _AWAY as error:
                if _is_about_the_record(error):
                    raise
                reason = str(error)
                self._link.drop()
        self._is_away = True
        self._retry_at = time.monotonic() + _PAUSE_SECONDS
        raise DatabaseAway(reason, tried=self._has_asked)

    def _tries(self) -> Iterator[None]:
        """Yield for each try: two at once, then more while that may still help."""
        until = time.monotonic() + (0 if self._is_away else self._patience)
        step = _FIRST_STEP_SECONDS
        yield
        yield
        while time.monotonic() < until:
            time.sleep(step)
            step = min(step * 2, _LONGEST_STEP_SECONDS)
            yield

    def _write_once(self, records: Sequence[Record]) -> None:
        unseen = self._facets.unseen(records)
        with self._link.transaction() as connection:
            self._has_asked = True
            ended = store.write(connection, records)
            if unseen:
                self._facets.note(connection, unseen)
        missed = {r.interception for r in records if r.end is not None} - ended
        if missed:
            self._end_swept(missed, records)

    def _end_swept(self, missed: set[UUID], records: Sequence[Record]) -> None:
        """Let a true end replace the sweeper's, which was mistaken."""
        reopened = swept.reopen(missed)
        if not reopened:
            return
        again = [
            Record(r.interception, end=r.end)
            for r in records
            if r.end is not None and r.interception in reopened
        ]
        with self._link.transaction() as connection:
            store.write(connection, again)

    def _rescue(self, record: Record, error: Exception) -> Exception | None:
        """Store what can be stored of a record that failed alone."""
        if isinstance(error, IntegrityError):
            with suppress(Exception):
                self._write([references.existing_only(record)])
                return None
        if record.start is not None:
            return Rejected(str(error))
        logger.error(
            "record not storable",
            extra={"interception_id": record.interception, "error": str(error)},
        )
        self._bury(record, str(error))
        if record.end is None:
            return None
        return self._end_alone(record)

    def _end_alone(self, record: Record) -> Exception | None:
        assert record.end is not None
        bare = Record(record.interception, end=bare_end(record.end))
        try:
            self._write([bare])
        except DatabaseAway as error:
            return error
        except Exception as error:
            return Rejected(str(error))
        return None


def bare_end(end: dict[str, Any]) -> dict[str, Any]:
    """Return an end without the texts that upstream wrote."""
    message = end["error_message"] and "the message could not be stored"
    return {**end, "error_message": message, "response_id": "", "stop_reason": ""}


def _is_about_the_record(error: Exception) -> bool:
    """Whether PostgreSQL calls the data too large (class 54), not itself unable."""
    return (getattr(error.__cause__, "sqlstate", None) or "").startswith("54")

"""Notes each model, client and provider name the first time it is seen.

What was noted is remembered for an hour, so that it costs nothing per interception and
a value that retention removed comes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from django.db.backends.base.base import BaseDatabaseWrapper

from interceptions.models import Facet
from interceptions.records import Record

KINDS = {"model": "model", "client": "client", "provider_name": "provider"}
"""Columns of an interception, to kinds of facets."""

_Value = tuple[str, str]
REMEMBERED_SECONDS = 3600.0
_MOST_REMEMBERED = 20_000


class Facets:
    """The values that are known to be noted; not safe for threads.

    To be remembered for 0 seconds where what is written may be rolled back.
    """

    def __init__(
        self,
        seconds: float = REMEMBERED_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._seen: set[_Value] = set()
        self._forget_at = 0.0

    def unseen(self, records: Iterable[Record]) -> list[_Value]:
        """Return the values of these records that are not known to be noted."""
        if self._clock() >= self._forget_at or len(self._seen) > _MOST_REMEMBERED:
            self._seen.clear()
            self._forget_at = self._clock() + self._seconds
        starts = [record.start for record in records if record.start is not None]
        values = {
            (kind, start[column])
            for start in starts
            for column, kind in KINDS.items()
            if start[column]
        }
        return sorted(values - self._seen)

    def note(self, connection: BaseDatabaseWrapper, values: list[_Value]) -> None:
        """Store the values; raises django.db errors."""
        statement = (
            f"INSERT INTO {Facet._meta.db_table} (kind, value) VALUES (%s, %s) "
            "ON CONFLICT (kind, value) DO NOTHING"
        )
        with connection.cursor() as cursor:
            cursor.executemany(statement, values)
        self._seen.update(values)

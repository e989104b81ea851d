"""Ends interceptions whose worker is gone, so that none stays in progress for ever.

1. A worker is dead when its heartbeat was seen not to move for a whole window, in
   several looks. Clocks of other machines do not matter, and after an outage of the
   database everybody has time to beat again.
2. What was known until then is kept: children stay, and their sums are added up.
3. A worker that only seemed dead may still end its interceptions: a true end replaces
   the sweeper's (see ``swept``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Q, QuerySet, Sum

from interceptions.choices import ErrorType
from interceptions.journal import Store
from interceptions.models import Interception, TokenUsage, ToolUsage, Worker
from interceptions.records import SUMS, Record, ended

logger = logging.getLogger(__name__)

MESSAGE = "the gateway worker that served this request is gone"
_AT_ONCE = 500
_LEAST_LOOKS = 3
_ORPHAN_AGE = timedelta(days=1)

Beat = datetime | None
"""When a worker last said that it lives; None when it has no row."""


@dataclass(slots=True)
class _Sighting:
    beat: Beat
    since: float
    looks: int = 0


class Sweeper:
    """Watches heartbeats. ``window`` is how many seconds one must stand still."""

    def __init__(
        self,
        store: Store,
        window: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._window = window
        self._clock = clock
        self._seen: dict[UUID, _Sighting] = {}

    def forget(self) -> None:
        """Begin to watch anew, as after a time in which nobody could beat."""
        self._seen = {}

    def sweep(self) -> int:
        """Look at all workers and end what the dead ones left; return how many rows.

        To be called several times in a window. Raises django.db errors, and what
        storing raises.
        """
        closed = 0
        for worker, beat in self._dead():
            closed += close_worker(worker, self._store, beat)
            del self._seen[worker]
        return closed + _close(_orphans(), self._store)

    def _dead(self) -> list[tuple[UUID, Beat]]:
        now, beats = self._clock(), _beats()
        for worker, beat in beats.items():
            sighting = self._seen.get(worker)
            if sighting is None or sighting.beat != beat:
                self._seen[worker] = sighting = _Sighting(beat, now)
            sighting.looks += 1
        self._seen = {w: s for w, s in self._seen.items() if w in beats}
        return [
            (worker, sighting.beat)
            for worker, sighting in self._seen.items()
            if now - sighting.since >= self._window and sighting.looks >= _LEAST_LOOKS
        ]


def close_worker(worker: UUID, store: Store, beat: Beat = None) -> int:
    """End all interceptions of a dead worker and strike it off; return how many.

    They ended, as far as is known, with its last heartbeat. A worker whose journal
    waits on its machine stays listed, so that people see it.
    """
    rows = Interception.objects.filter(worker=worker, ended_at=None)
    closed = _close(rows, store, beat)
    Worker.objects.filter(pk=worker, journal_records=0).delete()
    if closed:
        facts = {"worker": str(worker), "interceptions": closed}
        logger.warning("interceptions of a dead worker ended", extra=facts)
    return closed


def _beats() -> dict[UUID, Beat]:
    """Return the workers that have a row or an open interception."""
    open_rows = Interception.objects.filter(ended_at=None, worker__isnull=False)
    workers = open_rows.order_by().values_list("worker", flat=True).distinct()
    beats: dict[UUID, Beat] = {worker: None for worker in workers if worker}
    beats.update(Worker.objects.values_list("pk", "beat_at"))
    return beats


def _orphans() -> QuerySet:
    """Return old open rows that no worker served (a development server's)."""
    old = datetime.now(UTC) - _ORPHAN_AGE
    return Interception.objects.filter(worker=None, ended_at=None, started_at__lt=old)


def _close(rows: QuerySet, store: Store, at: Beat = None) -> int:
    closed = 0
    last: dict[str, Any] = {}
    while part := list(rows.filter(**last).order_by("pk")[:_AT_ONCE]):
        sums = _sums(Q(interception__in=[row.pk for row in part]))
        store([_ending(row, sums.get(row.pk, {}), at) for row in part])
        closed += len(part)
        last = {"pk__gt": part[-1].pk}
    return closed


def _ending(row: Interception, sums: dict[str, int], at: Beat) -> Record:
    end = ended(
        row.pk,
        is_swept=True,
        ended_at=max(at, row.started_at) if at else None,
        error_type=ErrorType.UNKNOWN.value,
        error_message=MESSAGE,
        first_byte_at=row.first_byte_at,
        **sums,
    )
    return Record(row.pk, end=end)


def _sums(of: Q) -> dict[UUID, dict[str, int]]:
    """Return what the children of interceptions add up to, by interception."""
    usages = TokenUsage.objects.filter(of).order_by().values("interception")
    sums: dict[UUID, dict[str, int]] = {}
    for row in usages.annotate(turns=Max("turn") + 1, **{n: Sum(n) for n in SUMS}):
        counts: dict[str, Any] = dict(row)
        sums[counts.pop("interception")] = counts
    tools = ToolUsage.objects.filter(of).order_by().values_list("interception")
    for interception, count in tools.annotate(Count("pk")):
        sums.setdefault(interception, {})["tool_calls"] = count
    return sums

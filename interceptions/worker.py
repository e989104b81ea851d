"""A gateway process as a worker: it says that it lives, and keeps the records whole.

Beside the writer two threads run for as long as the worker does. One renews the
worker's row. The other replays journals (its own once the database is back, those of
dead processes of this machine), and takes its turn at sweeping and pruning; however
long that takes, the worker beats.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from interceptions import journal, recording_process, retention, sweeper
from interceptions.committer import DatabaseAway
from interceptions.models import Worker
from interceptions.recording_process import RecordingProcess
from providers import leases
from providers.database import give_back

logger = logging.getLogger(__name__)

_AWAY = (DatabaseError, InterfaceError, DatabaseAway)
_BEATS_IN_WINDOW = 3
_BUSY_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0
_PRUNE_BATCH = 100
_PRUNE_PAUSE = 0.05
_PRUNE_AT_MOST = 5.0
_STOP_SECONDS = 10.0


def begin() -> None:
    """Make this process a worker. A database that is away delays nothing.

    Raises OSError when AIBRIDGE_DATA_DIR cannot hold a journal.
    """
    global _upkeep
    _upkeep = Upkeep(recording_process.begin_worker())
    _upkeep.start()


def end() -> None:
    """Store or journal what is in memory, and stop being a worker."""
    global _upkeep
    upkeep, _upkeep = _upkeep, None
    if upkeep is not None:
        upkeep.stop()
    recording_process.end_worker()


_upkeep: Upkeep | None = None


class Upkeep:
    """The threads that keep one worker's house."""

    def __init__(self, process: RecordingProcess) -> None:
        assert process.worker is not None
        self._worker: UUID = process.worker
        self._process = process
        self._started_at = datetime.now(UTC)
        self._window = settings.AIBRIDGE_SWEEP_SECONDS
        self._sweeper = sweeper.Sweeper(process.store, self._window)
        self._prune_at = time.monotonic() + self._window
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=job, daemon=True)
            for job in ((self._beat, self._pause), (self._tidy, self._pause_of_tidying))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads, and strike the worker off if nothing of it is left."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
        # Whatever connection this thread had may be broken by now.
        give_back()
        try:
            self._process.journal.replay(self._process.store)
            self._sign_off()
        except _AWAY:
            logger.warning("worker not signed off")
        finally:
            give_back()

    def _repeat(self, job: Callable[[], None], pause: Callable[[], float]) -> None:
        is_away = False
        while True:
            try:
                job()
                is_away = False
            except _AWAY as error:
                if not is_away:
                    logger.warning("upkeep waits", extra={"error": str(error)})
                is_away = True
            except Exception:
                # A worker that stops to beat would be taken for dead.
                logger.exception("upkeep failed")
            finally:
                give_back()
            if self._stopping.wait(pause()):
                return

    def _pause(self) -> float:
        return self._window / _BEATS_IN_WINDOW

    def _pause_of_tidying(self) -> float:
        waits = self._process.journal.waiting or time.monotonic() >= self._prune_at
        return min(self._pause(), _BUSY_SECONDS) if waits else self._pause()

    def _tidy(self) -> None:
        try:
            self._process.journal.replay(self._process.store)
            adopt_leftovers(self._process)
            self._sweep()
            self._prune()
        except BaseException:
            # Nobody could beat while the database was away.
            self._sweeper.forget()
            raise

    def _beat(self) -> None:
        Worker.objects.update_or_create(
            pk=self._worker,
            defaults={
                "beat_at": datetime.now(UTC),
                "journal_records": self._process.journal.waiting,
            },
            create_defaults={
                "node": socket.gethostname(),
                "pid": os.getpid(),
                "started_at": self._started_at,
                "beat_at": datetime.now(UTC),
                "journal_records": self._process.journal.waiting,
            },
        )

    def _sweep(self) -> None:
        if leases.take("sweeper", self._window):
            self._sweeper.sweep()
        else:
            self._sweeper.forget()

    def _prune(self) -> None:
        if time.monotonic() >= self._prune_at and _prune_some():
            self._prune_at = time.monotonic() + _PRUNE_SECONDS

    def _sign_off(self) -> None:
        rows = Worker.objects.filter(pk=self._worker)
        if waiting := self._process.journal.waiting:
            rows.update(journal_records=waiting)
        else:
            rows.delete()


def _prune_some() -> bool:
    """Delete some of what is too old; return whether that is all for now."""
    days = settings.AIBRIDGE_RETENTION_DAYS
    if not days:
        return True
    try:
        return retention.prune(
            retention.cutoff(days),
            batch=_PRUNE_BATCH,
            pause=_PRUNE_PAUSE,
            seconds=_PRUNE_AT_MOST,
        ).is_all
    except retention.PruningElsewhere:
        return True


def adopt_leftovers(process: RecordingProcess) -> tuple[int, int]:
    """Replay the journals of dead processes of this machine, then end their rows.

    Returns how many records were replayed and how many interceptions ended.
    Raises DatabaseAway and django.db errors; what is not replayed stays.
    """
    replayed = closed = 0
    for leftover in journal.leftovers(recording_process.journal_directory()):
        try:
            replayed += leftover.replay(process.store)
            closed += sweeper.close_worker(leftover.worker, process.store)
            Worker.objects.filter(pk=leftover.worker).delete()
        finally:
            leftover.close()
    return replayed, closed

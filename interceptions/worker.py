"""A gateway process as a worker: it says that it lives, and keeps the records whole.

Beside the writer one thread runs for as long as the worker does. At every beat it
renews the worker's row, replays journals (its own once the database is back, those of
dead processes of this machine), and takes its turn at sweeping and pruning.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
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
_REPLAY_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0
_PRUNE_BATCH = 100
_PRUNE_PAUSE = 0.05
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
    """The thread that keeps one worker's house."""

    def __init__(self, process: RecordingProcess) -> None:
        assert process.worker is not None
        self._worker: UUID = process.worker
        self._process = process
        self._started_at = datetime.now(UTC)
        self._window = settings.AIBRIDGE_SWEEP_SECONDS
        self._sweeper = sweeper.Sweeper(process.store, self._window)
        self._prune_at = time.monotonic() + self._window
        self._is_away = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="aibridge-upkeep", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and strike the worker off if nothing of it is left."""
        self._stopping.set()
        self._thread.join(_STOP_SECONDS)
        # Whatever connection this thread had may be broken by now.
        give_back()
        try:
            self._process.journal.replay(self._process.store)
            self._sign_off()
        except _AWAY:
            logger.warning("worker not signed off")
        finally:
            give_back()

    def _run(self) -> None:
        while True:
            self._keep_house()
            if self._stopping.wait(self._pause()):
                return

    def _pause(self) -> float:
        beat = self._window / _BEATS_IN_WINDOW
        return min(beat, _REPLAY_SECONDS) if self._process.journal.waiting else beat

    def _keep_house(self) -> None:
        try:
            self._beat()
            self._process.journal.replay(self._process.store)
            adopt_leftovers(self._process)
            self._sweep()
            self._prune()
            self._is_away = False
        except _AWAY as error:
            self._sweeper.forget()
            if not self._is_away:
                logger.warning("upkeep waits", extra={"error": str(error)})
            self._is_away = True
        except Exception:
            # A worker that stops to beat would be taken for dead.
            logger.exception("upkeep failed")
        finally:
            give_back()

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
        days = settings.AIBRIDGE_RETENTION_DAYS
        if not days or time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + _PRUNE_SECONDS
        try:
            retention.prune(
                retention.cutoff(days), batch=_PRUNE_BATCH, pause=_PRUNE_PAUSE
            )
        except retention.PruningElsewhere:
            logger.debug("another worker prunes")

    def _sign_off(self) -> None:
        rows = Worker.objects.filter(pk=self._worker)
        if waiting := self._process.journal.waiting:
            rows.update(journal_records=waiting)
        else:
            rows.delete()


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

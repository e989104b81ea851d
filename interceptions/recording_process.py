"""How this process records: through a writer of its own, or directly.

A gateway worker calls ``begin_worker``. Without that (tests, commands, ``runserver``)
each record is stored at once over the caller's own connection, inside the caller's
transaction if there is one; nothing has to be set up for it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from django.conf import settings

from interceptions.committer import Committer, DatabaseAway
from interceptions.facets import Facets
from interceptions.journal import Journal, bury
from interceptions.link import CallersLink, writers_link
from interceptions.records import Record
from interceptions.writer import Direct, QueueFull, Sink, Writer
from providers.ids import new_id

logger = logging.getLogger(__name__)

_STORE_SECONDS = 30.0


def journal_directory() -> Path:
    """Return where the journals of this machine's processes are."""
    return settings.AIBRIDGE_DATA_DIR / "journal"


class RecordingProcess:
    """Where records of this process go; ``worker`` is None when it is no worker."""

    def __init__(self, worker: UUID | None, sink: Sink, journal: Journal) -> None:
        self.worker = worker
        self.sink = sink
        self.journal = journal
        self.pid = os.getpid()

    def commit_or_keep(self, record: Record) -> None:
        """Return once the record is committed or journaled; raises when it is lost."""
        seconds = settings.AIBRIDGE_COMMIT_SECONDS
        try:
            ticket = self.sink.submit(record, seconds)
        except QueueFull:
            self.keep([record])
            return
        if ticket.wait(seconds):
            if ticket.error is not None:
                raise ticket.error
            return
        self.sink.withdraw(ticket)
        self.keep([record])

    def store(self, records: list[Record]) -> None:
        """Return once the records are stored; nothing of them is journaled.

        Raises DatabaseAway. A record that cannot be stored at all is buried.
        """
        tickets = [
            self.sink.submit(record, _STORE_SECONDS, journals=False)
            for record in records
        ]
        for ticket in tickets:
            if not ticket.wait(_STORE_SECONDS):
                raise DatabaseAway("not stored in time")
            if isinstance(ticket.error, DatabaseAway):
                raise ticket.error
            if ticket.error is not None:
                _bury(ticket.record, str(ticket.error))

    def keep(self, records: list[Record]) -> None:
        """Journal the records; raises OSError."""
        self.journal.append(records)


def current() -> RecordingProcess:
    """Return how this process records now."""
    global _current
    if _current is None or _current.pid != os.getpid():
        _current = _direct()
    return _current


@contextmanager
def using(process: RecordingProcess) -> Iterator[RecordingProcess]:
    """Record through this one for a while, as tests of failures do."""
    global _current
    before, _current = _current, process
    try:
        yield process
    finally:
        _current = before


def begin_worker() -> RecordingProcess:
    """Give this process a writer, which stores what is recorded from now on."""
    global _current
    worker = new_id()
    journal = Journal(journal_directory(), worker)
    journal.open()
    writer = Writer(_open_committer, journal, settings.AIBRIDGE_WRITER_QUEUE)
    writer.start()
    _current = RecordingProcess(worker, writer, journal)
    return _current


def end_worker() -> None:
    """Store or journal what is still in memory, and go on without a writer."""
    global _current
    process, _current = _current, None
    if process is None or not isinstance(process.sink, Writer):
        return
    process.sink.stop(settings.AIBRIDGE_COMMIT_SECONDS)
    process.journal.close()


_current: RecordingProcess | None = None


def _open_committer() -> Committer:
    # Who waits should hear of a failure, rather than stop waiting a moment before.
    patience = settings.AIBRIDGE_COMMIT_SECONDS * 0.75
    return Committer(writers_link(), _bury, patience)


def _direct() -> RecordingProcess:
    journal = Journal(journal_directory(), new_id())
    committer = Committer(CallersLink(), _bury, 0, Facets(seconds=0))
    return RecordingProcess(None, Direct(committer, journal), journal)


def _bury(record: Record, reason: str) -> None:
    bury(journal_directory(), record, reason)

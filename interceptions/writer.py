"""The one writer of a process: commits at once what many requests have to store.

1. Records are stored in the order they were submitted.
2. What comes while a commit is under way shares the next one (natural batching).
3. The queue is bounded: who submits to a full one waits, and gives up in the end.
4. What cannot be stored is journaled by the writer, but for starts, which only fail.

Uses plain threads, which are greenlets where gevent has patched.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from interceptions.committer import Committer, DatabaseAway, Rejected
from interceptions.journal import Journal
from interceptions.records import Record

logger = logging.getLogger(__name__)

_MOST_RECORDS = 256
_MOST_BYTES = 4_000_000
_ROOM_STEP_SECONDS = 0.005


class QueueFull(Exception):
    """The writer does not keep up."""


class Ticket:
    """A submitted record, as its submitter sees it.

    Once ``wait`` returned True, ``error`` is None if the record is stored, or journaled
    where ``journals`` allows it, else what prevented it.
    """

    __slots__ = ("_latch", "error", "is_claimed", "journals", "record")

    def __init__(self, record: Record, *, journals: bool) -> None:
        self.record = record
        self.journals = journals
        self.is_claimed = False
        self.error: Exception | None = None
        self._latch = threading.Lock()
        self._latch.acquire()

    def resolve(self, error: Exception | None) -> None:
        """Let the submitter go on; to be called once."""
        self.error = error
        self._latch.release()

    def wait(self, seconds: float) -> bool:
        """Wait until it is known what became of the record; False when time ran out."""
        return self._latch.acquire(timeout=max(0.0, seconds))


class Sink(Protocol):
    """Where records go."""

    def submit(
        self, record: Record, patience: float = 0, *, journals: bool = True
    ) -> Ticket:
        """Take a record; raises QueueFull after ``patience`` seconds without room.

        ``journals`` says whether a record that cannot be stored now is to be kept in
        the journal: not so a start, nor what came from there.
        """

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a record back; False when it is stored, or being stored right now."""


class Direct:
    """Stores each record at once, in the caller's thread: for tests and commands."""

    def __init__(self, committer: Committer, journal: Journal) -> None:
        self._committer = committer
        self._journal = journal

    def submit(
        self, record: Record, patience: float = 0, *, journals: bool = True
    ) -> Ticket:
        ticket = Ticket(record, journals=journals)
        settle([ticket], self._committer.commit([record]), self._journal)
        return ticket

    def withdraw(self, ticket: Ticket) -> bool:
        return False


class Writer:
    """A thread that commits batches."""

    def __init__(
        self,
        open_committer: Callable[[], Committer],
        journal: Journal,
        queue_limit: int,
    ) -> None:
        self._open_committer = open_committer
        self._journal = journal
        self._limit = queue_limit
        # Not a Condition, nor anything made of one: gevent lets other greenlets run
        # at each notification, which costs more than all else here.
        self._queue: SimpleQueue[Ticket | None] = SimpleQueue()
        self._claiming = threading.Lock()
        self._is_stopping = False
        self._thread = threading.Thread(
            target=self._run, name="aibridge-writer", daemon=True
        )

    def start(self) -> None:
        """Begin to store; to be called once."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Store what is queued within so many seconds, and journal the rest."""
        self._queue.put(None)
        self._thread.join(seconds)
        left = self._claimed(self._drain())
        stopped = DatabaseAway("the writer was stopped", tried=False)
        settle(left, dict.fromkeys(range(len(left)), stopped), self._journal)

    def submit(
        self, record: Record, patience: float = 0, *, journals: bool = True
    ) -> Ticket:
        self._wait_for_room(patience)
        ticket = Ticket(record, journals=journals)
        self._queue.put(ticket)
        return ticket

    def withdraw(self, ticket: Ticket) -> bool:
        with self._claiming:
            if not ticket.is_claimed:
                ticket.is_claimed = True
                return True
        return False

    def depth(self) -> int:
        """Return how many records wait."""
        return self._queue.qsize()

    def _wait_for_room(self, seconds: float) -> None:
        if self._queue.qsize() < self._limit:
            return
        until = time.monotonic() + seconds
        while self._queue.qsize() >= self._limit:
            if time.monotonic() >= until:
                raise QueueFull
            time.sleep(_ROOM_STEP_SECONDS)

    def _run(self) -> None:
        committer = self._open_committer()
        try:
            while not self._is_stopping:
                if batch := self._take():
                    self._commit(committer, batch)
        finally:
            committer.close()

    def _take(self) -> list[Ticket]:
        """Wait for a record, and take with it what else waits and fits in a batch."""
        taken: list[Ticket] = []
        weight = 0
        ticket = self._queue.get()
        while ticket is not None:
            taken.append(ticket)
            weight += ticket.record.weight
            if len(taken) == _MOST_RECORDS or weight >= _MOST_BYTES:
                return self._claimed(taken)
            try:
                ticket = self._queue.get_nowait()
            except Empty:
                return self._claimed(taken)
        self._is_stopping = True
        return self._claimed(taken)

    def _drain(self) -> list[Ticket]:
        """Take everything that is left."""
        taken: list[Ticket] = []
        while True:
            try:
                ticket = self._queue.get_nowait()
            except Empty:
                return taken
            if ticket is not None:
                taken.append(ticket)

    def _claimed(self, tickets: list[Ticket]) -> list[Ticket]:
        """Return those that were not withdrawn, and cannot be any more."""
        with self._claiming:
            claimed = [ticket for ticket in tickets if not ticket.is_claimed]
            for ticket in claimed:
                ticket.is_claimed = True
        return claimed

    def _commit(self, committer: Committer, batch: Sequence[Ticket]) -> None:
        try:
            failed = committer.commit([ticket.record for ticket in batch])
        except Exception as error:
            # Whatever broke, this thread must go on, and nothing may be lost.
            logger.exception("records not committed")
            failed = dict.fromkeys(range(len(batch)), error)
        settle(batch, failed, self._journal)


def settle(
    tickets: Sequence[Ticket], failed: dict[int, Exception], journal: Journal
) -> None:
    """Journal what failed and may be journaled, then let every submitter know."""
    kept = {
        position
        for position, error in failed.items()
        if tickets[position].journals and not isinstance(error, Rejected)
    }
    if not _is_journaled(journal, [tickets[position].record for position in kept]):
        kept = set()
    for position, ticket in enumerate(tickets):
        ticket.resolve(None if position in kept else failed.get(position))


def _is_journaled(journal: Journal, records: list[Record]) -> bool:
    try:
        journal.append(records)
    except OSError:
        lost = [str(record.interception) for record in records]
        logger.critical("records lost", exc_info=True, extra={"interceptions": lost})
        return False
    return True

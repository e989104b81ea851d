"""The local journal: records on disk while the database is away.

1. Lines of JSON, one record each, flushed to disk (fsync) before ``append`` returns.
2. Each process has files of its own, and holds a lock on each for as long as it lives.
   Files that can be locked belong to a dead process, and anybody may replay them.
3. Replaying twice does no harm: records carry their own ids. A file is removed only
   when all of it is stored. A torn last line was never acknowledged and is skipped.
4. Files are readable by their owner only. Records hold no credentials.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from uuid import UUID

from interceptions.records import Record, dump

logger = logging.getLogger(__name__)

Store = Callable[[list[Record]], None]
"""Stores records; raises when one of them must be kept for later."""

_REPLAYED_AT_ONCE = 200
_DEAD_LETTERS = "dead-letters.jsonl"


class Journal:
    """The files of one process, ``<worker>.<number>.jsonl``; safe for threads."""

    def __init__(self, directory: Path, worker: UUID) -> None:
        self._directory = directory
        self._worker = worker
        self._number = 0
        self._file: _LockedFile | None = None
        self._aside: list[_LockedFile] = []
        self._changing = threading.Lock()
        self._replaying = threading.Lock()
        self._queue: list[_Entry] = []

    @property
    def waiting(self) -> int:
        """Records that were appended and not stored yet."""
        files = [*self._aside, *filter(None, [self._file])]
        return sum(file.records for file in files)

    def open(self) -> None:
        """Create and lock the file; raises OSError."""
        with self._changing:
            self._current()

    def append(self, records: Iterable[Record]) -> None:
        """Return when the records are on disk; raises OSError when they cannot be.

        Concurrent callers share one flush.
        """
        entry = _Entry([record.to_json() for record in records])
        if not entry.lines:
            return
        self._queue.append(entry)
        # Others may wait for the same outage: let them queue before the flush.
        time.sleep(0)
        with self._changing:
            if not entry.is_done:
                self._flush_queue()
        if entry.error is not None:
            raise entry.error

    def replay(self, store: Store) -> int:
        """Store what was appended so far, and return how many records that was.

        What ``store`` raises ends the replay; the rest is kept for the next.
        """
        with self._replaying:
            self._set_aside()
            done = 0
            while self._aside:
                done += self._aside[0].replay(store)
                self._aside.pop(0).remove()
            return done

    def close(self) -> None:
        """Let go of the files; one that holds nothing is removed."""
        with self._changing:
            for file in [*self._aside, *filter(None, [self._file])]:
                file.close()
            self._file, self._aside = None, []

    def _current(self) -> _LockedFile:
        if self._file is None:
            name = f"{self._worker}.{self._number:06}.jsonl"
            self._file = _LockedFile.create(self._directory / name)
            self._number += 1
        return self._file

    def _flush_queue(self) -> None:
        entries, self._queue = self._queue, []
        try:
            self._current().append([line for entry in entries for line in entry.lines])
        except OSError as error:
            for entry in entries:
                entry.error = error
        finally:
            for entry in entries:
                entry.is_done = True

    def _set_aside(self) -> None:
        """Begin a fresh file if this one holds records."""
        with self._changing:
            if self._file is not None and self._file.records:
                self._aside.append(self._file)
                self._file = None
                self._current()


class _Entry:
    """What one caller appends."""

    __slots__ = ("error", "is_done", "lines")

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        self.is_done = False
        self.error: OSError | None = None


class _LockedFile:
    """A file this process holds the lock of."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.records = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path) -> _LockedFile:
        """Make a file that is locked from the moment it can be seen."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        hidden = path.with_suffix(".new")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
        descriptor = os.open(hidden, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(path)
        _flush_directory(path.parent)
        return cls(path, descriptor)

    @classmethod
    def take_over(cls, path: Path) -> _LockedFile | None:
        """Lock a file of a dead process, None while its process lives."""
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return None
            if os.fstat(descriptor).st_nlink:
                return cls(path, descriptor)
            # Its last owner replayed and removed it meanwhile.
            os.close(descriptor)
        return None

    def append(self, lines: list[bytes]) -> None:
        """Write the lines and flush them to disk; raises OSError."""
        end = os.fstat(self._descriptor).st_size
        try:
            _write_whole(self._descriptor, b"\n".join(lines) + b"\n")
            os.fsync(self._descriptor)
        except OSError:
            # Half a line must not spoil the one that may follow.
            with suppress(OSError):
                os.ftruncate(self._descriptor, end)
            raise
        self.records += len(lines)

    def replay(self, store: Store) -> int:
        """Store all records; what ``store`` raises passes through."""
        done = 0
        records = self._read()
        while part := list(islice(records, _REPLAYED_AT_ONCE)):
            store(part)
            done += len(part)
        return done

    def _read(self) -> Iterator[Record]:
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    logger.warning("torn journal line skipped")
                    return
                try:
                    yield Record.from_json(line)
                except ValueError:
                    logger.exception("journal line not readable")
                    bury_line(self.path.parent, line, "not readable")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def close(self) -> None:
        """Let go of the file; removes it when it is empty."""
        if os.fstat(self._descriptor).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


class Leftover:
    """The files of a process that died. Its rows can get no other end than these."""

    def __init__(self, worker: UUID, files: list[_LockedFile]) -> None:
        self.worker = worker
        self._files = files

    def replay(self, store: Store) -> int:
        """Store and remove all files; what ``store`` raises passes through."""
        done = 0
        while self._files:
            done += self._files[0].replay(store)
            self._files.pop(0).remove()
        return done

    def close(self) -> None:
        """Let go of what was not replayed."""
        for file in self._files:
            os.close(file._descriptor)
        self._files = []


def leftovers(directory: Path) -> Iterator[Leftover]:
    """Yield what dead processes of this machine left, locked for the caller."""
    paths: dict[str, list[Path]] = {}
    for path in sorted(directory.glob("*.*.jsonl")):
        paths.setdefault(path.name.partition(".")[0], []).append(path)
    for worker, found in paths.items():
        files = [_LockedFile.take_over(path) for path in found]
        locked = [file for file in files if file is not None]
        if len(locked) < len(found):
            # A process that lives holds at least one of its files.
            Leftover(UUID(worker), locked).close()
            continue
        yield Leftover(UUID(worker), locked)


def bury(directory: Path, record: Record, reason: str) -> None:
    """Keep a record that the database will never take, for a person to look at."""
    bury_line(directory, record.to_json(), reason)


def bury_line(directory: Path, line: bytes, reason: str) -> None:
    """Keep text that should be a record; logs when that fails."""
    letter = {
        "at": datetime.now(UTC),
        "reason": reason,
        "record": line.decode("utf-8", "replace").rstrip("\n"),
    }
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(directory / _DEAD_LETTERS, flags, 0o600)
        try:
            _write_whole(descriptor, dump(letter) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        logger.exception("dead letter not kept")


def _write_whole(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

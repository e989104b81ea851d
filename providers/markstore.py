"""Stores what requests learnt about keys, in order, behind their backs.

Requests leave entries and go on; one daemon thread, a greenlet where gevent has
patched, writes them. What cannot be stored now is kept and tried again, oldest first.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q, QuerySet

from providers.database import give_back
from providers.keypool import Key, KeyPool
from providers.models import ApiKey, KeyEvent, KeyEventKind

logger = logging.getLogger(__name__)

TRAFFIC = "traffic"
TOUCH_SECONDS = 30.0
_LONGEST_BACKOFF = 1.0


def moment(epoch: float) -> datetime:
    """Return seconds since the epoch as the database wants them."""
    return datetime.fromtimestamp(epoch, UTC)


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of a key in a request; ``until`` is None for a permanent mark."""

    key_id: UUID
    key: Key
    pool: KeyPool
    fingerprint: str
    at: float
    until: float | None
    reason: str
    status: int | None
    error: str = field(repr=False)

    @property
    def says(self) -> str:
        """What kind of entry it is."""
        return "retire" if self.until is None else "rest"

    def store(self) -> None:
        """Write the mark, and the event if it was a transition."""
        with transaction.atomic():
            kind = self._store_permanent() if self.until is None else self._store_rest()
            if kind is not None:
                self._record(kind)
        self.pool.settle(self.key, self.at, at=time.monotonic())

    def _store_permanent(self) -> KeyEventKind | None:
        changed = self._row().update(retired_at=moment(self.at), **self._facts())
        return KeyEventKind.RETIRED if changed else None

    def _store_rest(self) -> KeyEventKind | None:
        """Write a later deadline; it is a transition only from a valid key."""
        row, at, until = self._row(), moment(self.at), moment(self.until or 0.0)
        valid = row.filter(Q(cooldown_until=None) | Q(cooldown_until__lte=at))
        if valid.update(cooldown_until=until, **self._facts()):
            return KeyEventKind.COOLED
        row.filter(cooldown_until__lt=until).update(
            cooldown_until=until, **self._facts()
        )
        return None

    def _row(self) -> QuerySet[ApiKey]:
        counts = Q(returned_at=None) | Q(returned_at__lt=moment(self.at))
        return ApiKey.objects.filter(
            counts, id=self.key_id, fingerprint=self.fingerprint, retired_at=None
        )

    def _record(self, kind: KeyEventKind) -> None:
        KeyEvent.objects.create(
            key_id=self.key_id,
            kind=kind,
            reason=self.reason,
            status=self.status,
            until=None if self.until is None else moment(self.until),
            actor=TRAFFIC,
        )

    def _facts(self) -> dict[str, object]:
        return {
            "reason": self.reason,
            "last_status": self.status,
            "last_error": self.error[:255],
            "last_error_at": moment(self.at),
        }


@dataclass(frozen=True, slots=True)
class Touch:
    """A key was used."""

    key_id: UUID
    at: float
    says: ClassVar[str] = "used"

    def store(self) -> None:
        """Write the time unless another process wrote one of late."""
        at = moment(self.at)
        stale = at - timedelta(seconds=TOUCH_SECONDS / 2)
        ApiKey.objects.filter(
            Q(last_used_at=None) | Q(last_used_at__lt=stale), id=self.key_id
        ).update(last_used_at=at)


class Store:
    """Stores entries in the order they came, in a thread of its own.

    Of entries that say the same kind of thing about the same key only the latest waits,
    so what waits is bounded by the number of keys.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[UUID, str], Mark | Touch] = OrderedDict()
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._is_away = False

    def add(self, entry: Mark | Touch) -> None:
        """Leave an entry to be stored; never waits for the database."""
        with self._lock:
            self._waiting[entry.key_id, entry.says] = entry
            self._ensure_thread()
        self._wake.set()

    def flush(self, timeout: float = 5.0) -> bool:
        """Store in the caller's thread what waits; return whether all was stored."""
        deadline = time.monotonic() + timeout
        while not self._store_waiting():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True

    def _ensure_thread(self) -> None:
        alive = self._thread is not None and self._thread.is_alive()
        if alive and self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="keystate", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        backoff = 0.1
        while True:
            self._wake.wait()
            self._wake.clear()
            while not self._store_waiting():
                time.sleep(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF)
            backoff = 0.1

    def _store_waiting(self) -> bool:
        """Store the waiting entries; return False when the database is away."""
        with self._storing:
            while (entry := self._take()) is not None:
                try:
                    self._store(entry)
                except (OperationalError, InterfaceError) as error:
                    self._put_back(entry)
                    self._say_away(error)
                    return False
                finally:
                    give_back()
        self._is_away = False
        return True

    def _take(self) -> Mark | Touch | None:
        with self._lock:
            return self._waiting.popitem(last=False)[1] if self._waiting else None

    def _put_back(self, entry: Mark | Touch) -> None:
        slot = (entry.key_id, entry.says)
        with self._lock:
            if slot not in self._waiting:
                self._waiting[slot] = entry
                self._waiting.move_to_end(slot, last=False)

    def _say_away(self, error: Exception) -> None:
        if not self._is_away:
            logger.warning("key health waits", extra={"error": str(error)})
        self._is_away = True

    def _store(self, entry: Mark | Touch) -> None:
        try:
            entry.store()
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            # This entry would fail for ever and hold up all that follow.
            logger.exception(
                "key health not stored", extra={"key_id": str(entry.key_id)}
            )

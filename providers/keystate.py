"""A key's health between memory, the database and all other processes.

Requests mark keys in memory and go on; one daemon thread, a greenlet where gevent has
patched, stores the marks in order. Rules:

1. A stored mark never shortens a deadline, never revives a retired key, and counts only
   for the secret it was made with and after the key's last return.
2. An event row and a log line say a transition, not its repetitions.
3. What cannot be stored now is kept and tried again, oldest first.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from providers.database import give_back
from providers.keypool import Key, KeyPool
from providers.models import ApiKey, KeyEvent, KeyEventKind
from providers.provider import Provider

logger = logging.getLogger(__name__)

TRAFFIC = "traffic"
TOUCH_SECONDS = 30.0
_MOST_WAITING = 10_000
_LONGEST_BACKOFF = 5.0


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of a key in a request; ``until`` is None for a permanent mark."""

    key: Key
    pool: KeyPool
    fingerprint: str
    at: float
    until: float | None
    reason: str
    status: int | None
    error: str = field(repr=False)

    def store(self) -> None:
        """Write the mark, and the event if it was a transition."""
        with transaction.atomic():
            kind = self._store_permanent() if self.until is None else self._store_rest()
            if kind is not None:
                _record_event(self.key.id, kind, self)
        self.pool.settle(self.key, self.at, at=time.monotonic())

    def _store_permanent(self) -> KeyEventKind | None:
        changed = self._row().update(retired_at=_moment(self.at), **self._facts())
        return KeyEventKind.RETIRED if changed else None

    def _store_rest(self) -> KeyEventKind | None:
        """Write a later deadline; it is a transition only from a valid key."""
        row, until = self._row(), _moment(self.until)
        at = _moment(self.at)
        valid = row.filter(Q(cooldown_until=None) | Q(cooldown_until__lte=at))
        if valid.update(cooldown_until=until, **self._facts()):
            return KeyEventKind.COOLED
        row.filter(cooldown_until__lt=until).update(
            cooldown_until=until, **self._facts()
        )
        return None

    def _row(self) -> QuerySet[ApiKey]:
        counts = Q(returned_at=None) | Q(returned_at__lt=_moment(self.at))
        return ApiKey.objects.filter(
            counts, id=self.key.id, fingerprint=self.fingerprint, retired_at=None
        )

    def _facts(self) -> dict[str, object]:
        return {
            "reason": self.reason,
            "last_status": self.status,
            "last_error": self.error[:255],
            "last_error_at": _moment(self.at),
        }


@dataclass(frozen=True, slots=True)
class Touch:
    """A key was used."""

    key: Key
    at: float

    def store(self) -> None:
        """Write the time unless another process wrote one of late."""
        at = _moment(self.at)
        stale = at - timedelta(seconds=TOUCH_SECONDS / 2)
        ApiKey.objects.filter(
            Q(last_used_at=None) | Q(last_used_at__lt=stale), id=self.key.id
        ).update(last_used_at=at)


class Store:
    """Stores marks in the order they were made, in a thread of its own."""

    def __init__(self) -> None:
        self._waiting: deque[Mark | Touch] = deque()
        self._wake = threading.Event()
        self._storing = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._is_away = False

    def add(self, entry: Mark | Touch) -> None:
        """Leave an entry to be stored; never waits for the database."""
        if len(self._waiting) >= _MOST_WAITING:
            logger.error("key health not stored", extra={"waiting": _MOST_WAITING})
            return
        self._waiting.append(entry)
        self._ensure_thread()
        self._wake.set()

    def flush(self, timeout: float = 5.0) -> bool:
        """Store in the caller's thread what waits; return whether all was stored."""
        deadline = time.monotonic() + timeout
        while self._waiting and time.monotonic() < deadline:
            if not self._store_waiting():
                time.sleep(0.05)
        return not self._waiting

    def _ensure_thread(self) -> None:
        with self._starting:
            alive = self._thread is not None and self._thread.is_alive()
            if alive and self._pid == os.getpid():
                return
            self._pid = os.getpid()
            self._thread = threading.Thread(
                target=self._run, name="keystate", daemon=True
            )
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
            try:
                while self._waiting:
                    self._store(self._waiting[0])
                    self._waiting.popleft()
            except (OperationalError, InterfaceError) as error:
                self._say_away(error)
                return False
            finally:
                give_back()
        self._is_away = False
        return True

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
            logger.exception("key health not stored", extra={"key": repr(entry.key)})


_store = Store()
flush = _store.flush


def report_temporary(
    provider: Provider,
    key: Key,
    *,
    cooldown: float | None,
    reason: str,
    status: int | None,
    error: str = "",
) -> bool:
    """Rest a key, here at once and everywhere soon; return whether it was valid.

    ``cooldown`` in seconds, None for the default. ``error`` must hold no secret.
    """
    pool = provider.pool
    if pool is None:
        return False
    before = key.cooldown_until
    transition = pool.mark_temporary(key, cooldown, reason)
    if key.cooldown_until <= before:
        return False
    until = key.cooldown_until
    _leave(pool, key, until=until, reason=reason, status=status, error=error)
    if transition:
        facts = _log_facts(provider, key, status) | {
            "reason": reason,
            "cooldown": round(until - key.marked_at, 3),
        }
        logger.info("key marked temporary", extra=facts)
    return transition


def report_permanent(
    provider: Provider, key: Key, *, reason: str, status: int | None, error: str = ""
) -> bool:
    """Retire a key, here at once and everywhere soon; return whether it was not yet.

    ``error`` must hold no secret.
    """
    pool = provider.pool
    if pool is None or not pool.mark_permanent(key, reason):
        return False
    _leave(pool, key, until=None, reason=reason, status=status, error=error)
    facts = _log_facts(provider, key, status) | {"reason": reason}
    logger.warning("key marked permanent", extra=facts)
    return True


def touch(key: Key) -> None:
    """Note that a key was used; costs a query in 30 seconds at most."""
    now = time.time()
    if now - key.used_at < TOUCH_SECONDS:
        return
    key.used_at = now
    if key.id is not None:
        _store.add(Touch(key, now))


def _leave(
    pool: KeyPool,
    key: Key,
    *,
    until: float | None,
    reason: str,
    status: int | None,
    error: str,
) -> None:
    if key.id is None:
        return
    _store.add(
        Mark(key, pool, key.fingerprint, key.marked_at, until, reason, status, error)
    )


def _log_facts(provider: Provider, key: Key, status: int | None) -> dict[str, object]:
    return {
        "provider": provider.name,
        "credential_hint": key.hint,
        "status": status,
    }


def return_to_service(row: ApiKey, *, actor: str) -> bool:
    """Make a key valid again for all processes; return whether it was not.

    ``actor`` is a user's name, "probe" or "secret change". The row is refreshed.
    """
    now = timezone.now()
    same = ApiKey.objects.filter(id=row.id, fingerprint=row.fingerprint)
    out = Q(retired_at__isnull=False) | Q(cooldown_until__gt=now)
    with transaction.atomic():
        returned = bool(same.filter(out).update(**_healthy(now)))
        if returned:
            _record_return(row.id, actor)
        else:
            # A mark on its way to the database was made before this moment.
            same.update(returned_at=_later(now))
    row.refresh_from_db()
    if returned:
        _log_return(row, actor)
    return returned


def _healthy(now: datetime) -> dict[str, object]:
    return {
        "cooldown_until": None,
        "retired_at": None,
        "reason": "",
        "returned_at": _later(now),
    }


def _later(now: datetime) -> object:
    return Greatest(Coalesce(F("returned_at"), now), now)


def _record_return(key_id: UUID, actor: str) -> None:
    KeyEvent.objects.create(
        key_id=key_id, kind=KeyEventKind.RETURNED, actor=actor[:150]
    )


def _log_return(row: ApiKey, actor: str) -> None:
    facts = {"credential_hint": row.hint, "key_id": str(row.id), "actor": actor}
    logger.info("key returned to service", extra=facts)


def _record_event(key_id: UUID | None, kind: KeyEventKind, mark: Mark) -> None:
    KeyEvent.objects.create(
        key_id=key_id,
        kind=kind,
        reason=mark.reason,
        status=mark.status,
        until=_moment(mark.until) if mark.until is not None else None,
        actor=TRAFFIC,
    )


def _moment(epoch: float | None) -> datetime:
    return datetime.fromtimestamp(epoch or 0.0, UTC)

"""Brings retired keys back by itself: asks upstream now and then whether it takes them.

Of all processes one at a time does it, by a lease. While no key is retired, nothing is
asked of the database. A return is recorded with "probe" as the one who did it; failures
are recorded when they begin or change, not each time.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from providers import keystate, leases, registry
from providers.database import give_back
from providers.encryption import UndecryptableSecret
from providers.models import ApiKey, KeyEvent, KeyEventKind
from providers.trial import KeyTest, try_key

logger = logging.getLogger(__name__)

ACTOR = "probe"
LEASE = "key probe"
_LEASE_SECONDS = 60.0
_SHORTEST_TICK, _LONGEST_TICK = 0.25, 15.0
_JITTER = 0.1


def probe_due_keys(now: datetime | None = None) -> int:
    """Try every retired key that is due; return how many came back.

    Returns at once, with 0, while another process has the lease. Blocks for as long as
    upstreams take to answer.
    """
    returned = 0
    for row in _retired_keys():
        if not is_due(row, now or timezone.now()):
            continue
        if not leases.take(LEASE, _LEASE_SECONDS):
            break
        returned += _probe(row.pk)
    return returned


def is_due(row: ApiKey, now: datetime) -> bool:
    """Whether the provider's interval has passed since the last try, or retirement."""
    retired_at = row.retired_at or now
    last = max(retired_at, row.probed_at or retired_at)
    # Each key has its own rhythm, lest many are tried at the same moment.
    spread = 1 + _JITTER * (2 * random.Random(row.pk.int).random() - 1)
    return now >= last + timedelta(seconds=row.provider.probe_interval * spread)


def _retired_keys() -> QuerySet[ApiKey]:
    rows = ApiKey.objects.filter(
        retired_at__isnull=False,
        enabled=True,
        provider__deleted_at=None,
        provider__enabled=True,
        provider__probe_interval__gt=0,
    )
    rows = rows.select_related("provider").order_by("probed_at", "id")
    return rows.defer("secret", "provider__secret_options")


def _probe(key_id: UUID) -> bool:
    """Try one key; return whether it came back."""
    # Anew: another process may have tried it, or a person may have returned it.
    row = _retired_keys().filter(pk=key_id).first()
    if row is None or not is_due(row, timezone.now()):
        return False
    try:
        secret = row.secret
    except UndecryptableSecret:
        return False
    give_back()
    test = try_key(row.provider, secret)
    if not test.ok:
        _record_failure(row, test)
        return False
    return keystate.return_to_service(row, actor=ACTOR, retired_at=row.retired_at)


def _record_failure(row: ApiKey, test: KeyTest) -> None:
    same = ApiKey.objects.filter(
        pk=row.pk, fingerprint=row.fingerprint, retired_at=row.retired_at
    )
    now = timezone.now()
    changed = same.update(
        probed_at=now,
        last_status=test.status,
        last_error=test.message[:255],
        last_error_at=now,
    )
    last = KeyEvent.objects.filter(key=row).order_by("-id").first()
    known = last is not None and last.kind == KeyEventKind.PROBE_FAILED
    if not changed or (known and last is not None and last.status == test.status):
        return
    KeyEvent.objects.create(
        key=row, kind=KeyEventKind.PROBE_FAILED, status=test.status, actor=ACTOR
    )
    facts = {
        "provider": row.provider.name,
        "credential_hint": row.hint,
        "status": test.status,
    }
    logger.info("key probe failed", extra=facts)


class Prober:
    """Probes in a thread of its own, a greenlet where gevent has patched."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0

    def start(self) -> None:
        """Begin, once per process (again after a fork)."""
        alive = self._thread is not None and self._thread.is_alive()
        if alive and self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stopping,), name="probe", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End; a probe under way is not waited for."""
        self._stopping.set()
        self._thread = None

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.wait(_tick() * random.uniform(0.8, 1.2)):
            try:
                if _interval() is not None:
                    probe_due_keys()
            except Exception as error:
                # Self-healing must outlive whatever goes wrong once.
                logger.warning("keys not probed", extra={"error": str(error)})
            finally:
                _give_back()


def _tick() -> float:
    """Return how long to wait: a tenth of the shortest interval that matters."""
    interval = _interval()
    if interval is None:
        return 1.0
    return min(max(interval / 10, _SHORTEST_TICK), _LONGEST_TICK)


def _interval() -> float | None:
    """Return the shortest interval of providers with a retired key, None without."""
    return min(
        (
            provider.probe_interval
            for provider in registry.all()
            if provider.probe_interval and provider.pool and provider.enabled
            if any(key.permanent for key in provider.pool.keys)
        ),
        default=None,
    )


def _give_back() -> None:
    try:
        give_back()
    except Exception as error:
        logger.debug("connection not given back", extra={"error": str(error)})


_prober = Prober()
start = _prober.start
stop = _prober.stop

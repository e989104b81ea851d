"""Leases: of all processes of all nodes, the one that does a periodic job.

The database's clock decides, so the nodes' own clocks may differ.
"""

from __future__ import annotations

import os
import secrets
import socket
from datetime import UTC, datetime, timedelta

from django.db.models import Q
from django.db.models.functions import Now

from providers.models import Lease

_TOKEN = secrets.token_hex(4)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def take(name: str, seconds: float) -> bool:
    """Take or renew a lease for so many seconds; False while another process has it."""
    if _update(name, seconds):
        return True
    unheld = Lease(name=name, expires_at=_LONG_AGO)
    Lease.objects.bulk_create([unheld], ignore_conflicts=True)
    return _update(name, seconds)


def release(name: str) -> None:
    """Give a lease back, if this process holds it."""
    Lease.objects.filter(name=name, holder=_holder()).update(expires_at=_LONG_AGO)


def _update(name: str, seconds: float) -> bool:
    mine_or_free = Q(holder=_holder()) | Q(expires_at__lte=Now())
    until = Now() + timedelta(seconds=seconds)
    leases = Lease.objects.filter(mine_or_free, name=name)
    return bool(leases.update(holder=_holder(), expires_at=until))


def _holder() -> str:
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{_TOKEN}"

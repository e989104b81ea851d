"""Deletes interceptions that are older than they may be; the only way out of here.

1. In bounded batches, each a short transaction, with everything that belongs to them.
2. What is in progress stays, however old.
3. Sessions are counted anew, and go with their last interception.
4. One process at a time, of all nodes (a lease).
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from interceptions import rollup
from interceptions.facets import KINDS
from interceptions.models import Facet, Interception, Session
from providers import leases

logger = logging.getLogger(__name__)

BATCH = 500
_LEASE = "retention"
_LEASE_SECONDS = 300.0


class PruningElsewhere(Exception):
    """Another process deletes right now."""


@dataclass(slots=True)
class Pruned:
    """How many rows went, or would go; and whether that is all of them."""

    interceptions: int = 0
    sessions: int = 0
    is_all: bool = True


def cutoff(days: int) -> datetime:
    """Return the moment before which interceptions that started may go."""
    return datetime.now(UTC) - timedelta(days=days)


def count(before: datetime) -> Pruned:
    """Return what ``prune`` would delete."""
    rows = _prunable(before)
    newer = Interception.objects.exclude(pk__in=rows.values("pk")).filter(
        initiator=OuterRef("initiator"), session_id=OuterRef("session_id")
    )
    emptied = Session.objects.filter(~Exists(newer))
    return Pruned(rows.count(), emptied.count())


def prune(
    before: datetime,
    *,
    batch: int = BATCH,
    pause: float = 0,
    seconds: float = math.inf,
) -> Pruned:
    """Delete interceptions that started before; ``pause`` seconds between batches.

    Stops after about so many ``seconds``. Raises PruningElsewhere and django.db errors;
    what was deleted until then is gone.
    """
    pruned = Pruned(is_all=False)
    until = time.monotonic() + seconds
    try:
        while not pruned.is_all:
            if not leases.take(_LEASE, _LEASE_SECONDS):
                raise PruningElsewhere
            pruned.is_all = not _prune_batch(before, batch, pruned)
            if time.monotonic() >= until:
                return pruned
            time.sleep(pause)
        _prune_facets()
    finally:
        leases.release(_LEASE)
        if pruned.interceptions:
            facts = {"interceptions": pruned.interceptions, "before": before}
            logger.info("interceptions pruned", extra=facts)
    return pruned


def _prunable(before: datetime) -> QuerySet:
    return Interception.objects.filter(started_at__lt=before, ended_at__isnull=False)


def _prune_batch(before: datetime, batch: int, pruned: Pruned) -> bool:
    """Delete one batch; return whether there may be more."""
    rows = _prunable(before).order_by("started_at")
    found = list(rows.values_list("pk", "initiator_id", "session_id")[:batch])
    if not found:
        return False
    ids: list[UUID] = [pk for pk, _, _ in found]
    keys = {(initiator, session_id) for _, initiator, session_id in found}
    with transaction.atomic():
        Interception.objects.filter(pk__in=ids, ended_at__isnull=False).delete()
        pruned.sessions += rollup.recompute(keys)
    pruned.interceptions += len(ids)
    return True


def _prune_facets() -> None:
    """Delete filter options that no interception has any more."""
    for column, kind in KINDS.items():
        having = Interception.objects.filter(**{column: OuterRef("value")})
        Facet.objects.filter(~Exists(having), kind=kind).delete()

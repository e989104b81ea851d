"""Sessions counted anew from their interceptions.

The writer adds to a session as things happen; this is for when interceptions went away
or were ended twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Max, Min, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from interceptions.models import Interception, Session
from interceptions.records import SUMS

_FIGURES: dict[str, Any] = {
    "interceptions": Count("pk"),
    "threads": Count("pk", filter=Q(thread_id=F("pk"))),
    "failures": Count("pk", filter=Q(error_type__isnull=False)),
    "tool_calls": Coalesce(Sum("tool_calls"), 0),
    **{name: Coalesce(Sum(name), 0) for name in SUMS},
    "first_started_at": Min("started_at"),
    "last_started_at": Max("started_at"),
    "last_ended_at": Max("ended_at"),
}


def recompute(keys: Iterable[tuple[int, str]]) -> int:
    """Count sessions, given by initiator and session id, anew; return how many.

    A session without interceptions is deleted.
    """
    wanted = sorted(set(keys))
    for initiator_id, session_id in wanted:
        with transaction.atomic():
            _recompute(initiator_id, session_id)
    return len(wanted)


def _recompute(initiator_id: int, session_id: str) -> None:
    # Whoever adds to this session waits for the lock, or is seen by what follows.
    locked = Session.objects.select_for_update().filter(
        initiator_id=initiator_id, session_id=session_id
    )
    session = locked.first()
    if session is None:
        return
    rows = Interception.objects.filter(
        initiator_id=initiator_id, session_id=session_id
    ).order_by()
    figures = rows.aggregate(**_FIGURES)
    if not figures["interceptions"]:
        session.delete()
        return
    session.started_at = figures.pop("first_started_at")
    session.ended_at = figures.pop("last_ended_at")
    last = [session.ended_at, figures.pop("last_started_at")]
    session.last_active_at = max(filter(None, last))
    for name, figure in figures.items():
        setattr(session, name, figure)
    session.provider_names = _names(rows, "provider_name")
    session.model_names = _names(rows, "model")
    session.save()


def _names(rows: QuerySet, column: str) -> list[str]:
    found = rows.exclude(**{column: ""}).values_list(column, flat=True).distinct()
    return sorted(found)

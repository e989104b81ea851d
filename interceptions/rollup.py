"""Sessions counted anew from their interceptions.

The writer adds to a session as things happen; this is for when interceptions went away
or were ended twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Max, Min, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from interceptions.models import Interception, Session
from interceptions.records import NAMES, SUMS

_AT_ONCE = 400
_FIGURES: dict[str, Any] = {
    "interceptions": Count("pk"),
    "threads": Count("thread_id", distinct=True),
    "failures": Count("pk", filter=Q(error_type__isnull=False)),
    "calls": Coalesce(Sum("tool_calls"), 0),
    **{f"sum_{name}": Coalesce(Sum(name), 0) for name in SUMS},
    "first_start": Min("started_at"),
    "last_start": Max("started_at"),
    "last_end": Max("ended_at"),
}


def recompute(keys: Iterable[tuple[int, str]]) -> int:
    """Count sessions, given by initiator and session id, anew.

    A session without interceptions is deleted; returns how many were. Each initiator's
    sessions are done in transactions of their own.
    """
    wanted: defaultdict[int, set[str]] = defaultdict(set)
    for initiator, session_id in keys:
        wanted[initiator].add(session_id)
    deleted = 0
    for initiator in sorted(wanted):
        for ids in _parts(sorted(wanted[initiator])):
            deleted += _recompute(initiator, ids)
    return deleted


def _parts(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]


def _recompute(initiator: int, ids: list[str]) -> int:
    with transaction.atomic():
        # Whoever adds to these sessions waits for the locks, or is seen below.
        locked = Session.objects.select_for_update().order_by("session_id")
        sessions = list(locked.filter(initiator=initiator, session_id__in=ids))
        rows = Interception.objects.filter(
            initiator=initiator, session_id__in=[s.session_id for s in sessions]
        ).order_by()
        figures: dict[str, dict[str, Any]] = {
            row["session_id"]: dict(row)
            for row in rows.values("session_id").annotate(**_FIGURES)
        }
        seen = {names: _names(rows, column) for names, column in NAMES.items()}
        empty = [s.pk for s in sessions if s.session_id not in figures]
        for session in sessions:
            if (found := figures.get(session.session_id)) is not None:
                for names, of_session in seen.items():
                    setattr(session, names, of_session[session.session_id])
                _take(session, found)
        Session.objects.filter(pk__in=empty).delete()
    return len(empty)


def _take(session: Session, figures: dict[str, Any]) -> None:
    for name in ("interceptions", "threads", "failures"):
        setattr(session, name, figures[name])
    for name in SUMS:
        setattr(session, name, figures[f"sum_{name}"])
    session.tool_calls = figures["calls"]
    session.started_at = figures["first_start"]
    session.ended_at = figures["last_end"]
    session.last_active_at = max(
        filter(None, (figures["last_start"], figures["last_end"]))
    )
    session.save()


def _names(rows: QuerySet, column: str) -> defaultdict[str, list[str]]:
    """Return the sorted names of each session."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    found = set(rows.values_list("session_id", column).distinct())
    for session_id, name in sorted((of, str(name)) for of, name in found if name):
        names[session_id].append(name)
    return names


def add_provider(interceptions: Sequence[UUID], provider: UUID) -> None:
    """Add a provider to the sessions of interceptions that became its own."""
    rows = Interception.objects.filter(pk__in=interceptions).order_by()
    keys = set(rows.values_list("initiator", "session_id"))
    sessions = Session.objects.select_for_update().order_by("session_id")
    of_keys = sessions.filter(session_id__in={session_id for _, session_id in keys})
    changed = [s for s in of_keys if (s.initiator_id, s.session_id) in keys]
    for session in changed:
        session.provider_ids = sorted({*session.provider_ids, str(provider)})
    Session.objects.bulk_update(changed, ["provider_ids"], batch_size=100)

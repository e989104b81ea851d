"""Interceptions that the sweeper ended, and taking that back.

A worker that only seemed dead may end an interception after the sweeper did. The true
end wins, whatever came first.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction

from interceptions import rollup
from interceptions.models import Interception
from interceptions.records import SUMS, SWEPT
from providers.database import give_back


def reopen(ids: Iterable[UUID]) -> set[UUID]:
    """Undo the sweeper's end of those interceptions it ended; return them.

    Raises django.db errors.
    """
    try:
        with transaction.atomic():
            rows = list(
                Interception.objects.select_for_update()
                .filter(pk__in=list(ids), **{f"metadata__{SWEPT}": True})
                .order_by("pk")
            )
            for row in rows:
                _reopen(row)
            rollup.recompute((row.initiator_id, row.session_id) for row in rows)
        return {row.pk for row in rows}
    finally:
        give_back()


def _reopen(row: Interception) -> None:
    row.ended_at = row.error_type = row.error_message = None
    row.metadata = {k: v for k, v in row.metadata.items() if k != SWEPT}
    for name in (*SUMS, "tool_calls"):
        setattr(row, name, 0)
    row.save(
        update_fields=[
            "ended_at", "error_type", "error_message", "metadata", "tool_calls", *SUMS
        ]
    )  # fmt: skip

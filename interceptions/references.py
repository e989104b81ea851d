"""Which rows a record refers to, for when some of them were deleted meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.apps import apps

from interceptions.models import Interception
from interceptions.records import Record, Row
from providers.database import give_back

_STARTS = {"token_id": "proxy.GatewayToken", "provider_id": "providers.AiProvider"}
_KEY = "providers.ApiKey"


def existing_only(record: Record) -> Record:
    """Return the record with references to rows that are gone set to NULL.

    What belongs to an interception that is gone (retention took it) is left out.
    Raises django.db errors.
    """
    try:
        start = record.start and _without_gone(dict(record.start))
        rows = dict(record.rows)
        if start is None and not _exists(record.interception):
            return Record(record.interception)
        if "attempts" in rows:
            rows["attempts"] = _with_existing_keys(rows["attempts"])
        return Record(record.interception, start, rows, record.end, record.weight)
    finally:
        give_back()


def _without_gone(start: Row) -> Row:
    for column, model in _STARTS.items():
        if start[column] and not _found(model, [start[column]]):
            start[column] = None
    return start


def _with_existing_keys(attempts: list[Row]) -> list[Row]:
    found = _found(_KEY, [row["key_id"] for row in attempts if row["key_id"]])
    return [
        {**row, "key_id": row["key_id"] if _text(row["key_id"]) in found else None}
        for row in attempts
    ]


def _found(model: str, ids: Iterable[Any]) -> set[str]:
    rows = apps.get_model(model)._base_manager.filter(pk__in=list(ids))
    return {str(pk) for pk in rows.values_list("pk", flat=True)}


def _exists(interception: UUID) -> bool:
    return Interception.objects.filter(pk=interception).exists()


def _text(value: Any) -> str:
    return str(value) if value else ""

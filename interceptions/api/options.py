"""Values that filters can take: models, clients, and names of providers.

They come from small tables that the writer keeps, never from the interceptions.
"""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Collate

from interceptions.models import Facet
from providers.models import AiProvider


def facet_values(kind: str, prefix: str) -> QuerySet:
    """Return the values of a kind of facet that begin with a prefix, sorted."""
    found = Facet.objects.filter(kind=kind, value__istartswith=prefix)
    return found.order_by(_bytewise("value")).values_list("value", flat=True)


def provider_names() -> list[dict[str, Any]]:
    """Return every provider's name once, deleted ones too, sorted.

    Of providers that share a name the live one counts, else the one deleted last. A
    name that only old interceptions know has neither id nor kind.
    """
    rows = AiProvider.all_objects.order_by("deleted_at").only(
        "id", "name", "kind", "display_name", "enabled", "deleted_at"
    )
    found: dict[str, dict[str, Any]] = {
        name: _gone(name) for name in facet_values("provider", "") if name
    }
    for row in sorted(rows, key=_liveness):
        found[row.name] = _named(row)
    return [found[name] for name in sorted(found)]


def _liveness(row: AiProvider) -> tuple[bool, float]:
    deleted = row.deleted_at
    return deleted is None, deleted.timestamp() if deleted else 0.0


def _named(row: AiProvider) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "name": row.name,
        "kind": row.kind,
        "display_name": row.display_name or row.name,
        "enabled": row.enabled,
        "deleted": row.deleted_at is not None,
    }


def _gone(name: str) -> dict[str, Any]:
    return {
        "id": None,
        "name": name,
        "kind": None,
        "display_name": name,
        "enabled": False,
        "deleted": True,
    }


def _bytewise(column: str) -> Any:
    """Return an order that is the same under every locale of the database."""
    if connection.vendor == "postgresql":
        return Collate(column, "C")
    return column

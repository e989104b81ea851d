"""Attributes interceptions to providers by the name or kind they kept.

1. By name: rows with a name go to the live provider that has it.
2. By kind: rows without a name go to the live provider of their kind, if it is the only
   one. Nothing is guessed between two, and a name that matches nothing stays alone.

Works on any version of the tables, also on those a migration sees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Manager, Q

BATCH = 900
"""Rows in one transaction; old versions of SQLite take no more in one statement."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Counts of rows: attributed by this run, and left without a provider."""

    attributed: int
    unattributed: int


def attribute(
    interceptions: Manager[Any], providers: Manager[Any], *, batch: int = BATCH
) -> Attribution:
    """Run both passes in batches; may be stopped and run again at any time.

    Deleted providers get nothing: their name or kind may be another's by now.
    """
    attributed = 0
    live = providers.filter(deleted_at=None).values_list("pk", "name", "kind")
    for provider, rows in _passes(list(live)):
        attributed += _attribute(interceptions, provider, rows, batch)
    left = interceptions.filter(provider=None).count()
    return Attribution(attributed, left)


def _passes(live: list[tuple[UUID, str, str]]) -> Iterator[tuple[UUID, Q]]:
    for provider, name, _ in live:
        yield provider, Q(provider_name=name)
    of_kind = Counter(kind for _, _, kind in live)
    for provider, _, kind in live:
        if of_kind[kind] == 1:
            yield provider, Q(provider_name="", provider_kind=kind)


def _attribute(interceptions: Manager[Any], provider: UUID, rows: Q, batch: int) -> int:
    unattributed = interceptions.filter(rows, provider=None).order_by()
    done = 0
    while ids := list(unattributed.values_list("pk", flat=True)[:batch]):
        found = interceptions.filter(pk__in=ids, provider=None)
        done += found.update(provider_id=provider)
    return done

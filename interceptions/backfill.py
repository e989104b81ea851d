"""Attributes interceptions to providers by the name or kind they kept.

1. By name: rows with a name go to the live provider that has it.
2. By kind: rows without a name go to the live provider of their kind, if it is the only
   one. Nothing is guessed between two, and a name that matches nothing stays alone.

Works on any version of the tables, also on those a migration sees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Manager, Q

OnBatch = Callable[[Sequence[UUID], UUID], None]
"""Is told of the interceptions that were attributed, and to which provider."""

BATCH = 900
"""Rows in one transaction; old versions of SQLite take no more in one statement."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Counts of rows: attributed by this run, and left without a provider."""

    attributed: int
    unattributed: int


def attribute(
    interceptions: Manager[Any],
    providers: Manager[Any],
    *,
    batch: int = BATCH,
    on_batch: OnBatch = lambda interceptions, provider: None,
) -> Attribution:
    """Run both passes in batches; may be stopped and run again at any time.

    ``on_batch`` is called in the transaction of each batch.
    Deleted providers get nothing: their name or kind may be another's by now.
    """
    attributed = 0
    live = providers.filter(deleted_at=None).values_list("pk", "name", "kind")
    for provider, rows in _passes(list(live)):
        unattributed = interceptions.filter(rows, provider=None).order_by()
        ids = unattributed.values_list("pk", flat=True)[:batch]
        while chosen := list(ids.all()):
            with transaction.atomic(interceptions.db):
                found = interceptions.filter(pk__in=chosen, provider=None)
                attributed += found.update(provider_id=provider)
                on_batch(chosen, provider)
    left = interceptions.filter(provider=None).count()
    return Attribution(attributed, left)


def _passes(live: list[tuple[UUID, str, str]]) -> Iterator[tuple[UUID, Q]]:
    for provider, name, _ in live:
        yield provider, Q(provider_name=name)
    of_kind = Counter(kind for _, _, kind in live)
    for provider, _, kind in live:
        if of_kind[kind] == 1:
            yield provider, Q(provider_name="", provider_kind=kind)

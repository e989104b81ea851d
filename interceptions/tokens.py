"""Sums of tokens, and of the further counts that providers report beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from interceptions.models import TokenUsage

COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
)


# The sum of each count that does not nest, and whether one does, which none should.
_SUMS = """
SELECT key, sum(CASE kind WHEN 'number' THEN value::numeric END),
  bool_or(kind = 'object')
FROM ({usages}) usages, LATERAL (
  SELECT key, value, jsonb_typeof(value) AS kind FROM (
    SELECT * FROM jsonb_each(extra) UNION ALL SELECT * FROM jsonb_each(metadata)) pair
) counts GROUP BY key ORDER BY key"""


@dataclass(slots=True)
class Tokens:
    """Tokens of one or more upstream answers.

    ``metadata`` holds the numbers of the nested extra counts, each under its path with
    dots between the names; texts, booleans, lists and nulls are left out.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    metadata: dict[str, float] = field(default_factory=dict)

    @classmethod
    def sum(cls, parts: Iterable[Tokens]) -> Tokens:
        """Return the sum of several."""
        total = cls()
        for part in parts:
            for name in COUNTS:
                setattr(total, name, getattr(total, name) + getattr(part, name))
            total.add_metadata(part.metadata)
        return total

    def add_usage(self, usage: TokenUsage) -> None:
        """Count one upstream answer."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(usage, name))
        self.add_metadata(usage.extra)
        self.add_metadata(usage.metadata)

    def add_metadata(self, extra: Any) -> None:
        """Count the numbers in a JSON object."""
        for path, number in _numbers(extra, ""):
            self.metadata[path] = self.metadata.get(path, 0) + number


def sum_of_metadata(usages: QuerySet) -> dict[str, float]:
    """Return the summed further counts of many answers, by flattened name."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            rows, given = usages.values("extra", "metadata").query.sql_with_params()
            cursor.execute(_SUMS.format(usages=rows), given)
            found = cursor.fetchall()
        if not any(is_nested for _, _, is_nested in found):
            return {
                name: _plain(total) for name, total, _ in found if total is not None
            }
    total = Tokens()
    for extra, metadata in usages.values_list("extra", "metadata").iterator():
        total.add_metadata(extra)
        total.add_metadata(metadata)
    return total.metadata


def _plain(number: Decimal) -> float:
    return int(number) if number == int(number) else float(number)


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path}.{name}" if path else str(name))
    elif path and isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value

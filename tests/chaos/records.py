"""What the tables say of each request, and what the provider remembers of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.answers import SeenRequest
from tests.chaos.plans import number_in


@dataclass(frozen=True)
class Record:
    """One interception with what belongs to it; ``attempts`` are (position, outcome).

    ``numbers`` are those of its prompts: there should be one.
    """

    id: str
    ended: bool
    outcome: str
    error_type: str | None
    status: int | None
    response_id: str
    numbers: list[int | None] = field(default_factory=list)
    usages: list[tuple[int, int]] = field(default_factory=list)
    attempts: list[tuple[int, str]] = field(default_factory=list)


def stored() -> list[Record]:
    """Read all interceptions."""
    from interceptions import models

    records = {
        row.pk: Record(
            str(row.pk),
            row.ended_at is not None,
            row.outcome,
            row.error_type,
            row.status_code,
            row.response_id,
        )
        for row in models.Interception.objects.all()
    }
    for row in models.UserPrompt.objects.all():
        number = number_in(row.prompt.encode())
        records[row.interception_id].numbers.append(number)
    for row in models.TokenUsage.objects.all():
        usage = (row.input_tokens, row.output_tokens)
        records[row.interception_id].usages.append(usage)
    for row in models.Attempt.objects.order_by("position"):
        records[row.interception_id].attempts.append((row.position, row.outcome))
    return list(records.values())


def count_open() -> int:
    """Return how many interceptions are in progress."""
    from interceptions.models import Interception

    return Interception.objects.filter(ended_at=None).count()


def count_journaled(data: Path) -> int:
    """Return how many records wait in journals, dead letters included."""
    files = (data / "journal").glob("*.jsonl")
    return sum(len(file.read_bytes().splitlines()) for file in files)


def tries(requests: list[SeenRequest]) -> Counter[int]:
    """Return how often the provider was asked each request."""
    numbers = (number_in(request.body) for request in requests)
    return Counter(number for number in numbers if number is not None)


def by_number(records: list[Record]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        for number in record.numbers:
            if number is not None:
                found[number].append(record)
    return found

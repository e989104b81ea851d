"""Sums over recent interceptions and attempts, for the first page.

Every figure is of a stretch of time that ends now, so its cost follows the traffic of
that stretch alone. What lies hours back hardly changes and is kept for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.cache import cache
from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import TruncHour, TruncMinute

from interceptions.choices import AttemptOutcome, ErrorType, Outcome
from interceptions.models import Attempt, Interception
from interceptions.moments import started_between

_SETTLED = timedelta(hours=1)
_KEPT_SECONDS = 6 * 3600
_ERROR_LABELS = dict(ErrorType.choices)


@dataclass(frozen=True, slots=True)
class Stretch:
    """How far back to look, and how finely."""

    name: str
    label: str
    length: timedelta
    bucket: timedelta
    trunc: Callable[[str], Any]
    label_format: str = "H:i"


STRETCHES = {
    stretch.name: stretch
    for stretch in (
        Stretch("1h", "Hour", timedelta(hours=1), timedelta(minutes=2), TruncMinute),
        Stretch("24h", "24 hours", timedelta(days=1), timedelta(hours=1), TruncHour),
        Stretch(
            "7d", "7 days", timedelta(days=7), timedelta(hours=6), TruncHour, "D H:i"
        ),
    )
}


@dataclass(slots=True)
class Bucket:
    """One bar of a chart; ``start`` and ``end`` bound its interceptions."""

    start: datetime
    end: datetime
    requests: int = 0
    failed: int = 0
    cancelled: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    @property
    def succeeded(self) -> int:
        return self.requests - self.failed - self.cancelled

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cached_tokens


_SUMS = {
    "requests": Count("pk"),
    "failed": Count("pk", filter=Q(outcome=Outcome.FAILED)),
    "cancelled": Count("pk", filter=Q(outcome=Outcome.CANCELLED)),
    "input_tokens": Sum("input_tokens"),
    "output_tokens": Sum("output_tokens"),
    "cached_tokens": Sum(F("cache_read_input_tokens") + F("cache_write_input_tokens")),
}


def series(
    rows: QuerySet, stretch: Stretch, now: datetime, *, whose: str
) -> list[Bucket]:
    """Return the stretch's buckets, oldest first, without gaps.

    ``whose`` names the rows: what is kept of them is found by it again.
    """
    buckets = _empty_buckets(stretch, now)
    prefix = f"traffic:{whose}:{stretch.name}"
    keys = {f"{prefix}:{b.start.timestamp():.0f}": b.start for b in buckets}
    kept = {bucket.start: bucket for bucket in cache.get_many(keys).values()}
    buckets = [kept.get(bucket.start, bucket) for bucket in buckets]
    missing = [bucket for bucket in buckets if bucket.start not in kept]
    _count(rows, stretch, missing)
    settled = {b.start: b for b in missing if b.end < now - _SETTLED}
    cache.set_many(
        {key: settled[start] for key, start in keys.items() if start in settled},
        _KEPT_SECONDS,
    )
    return buckets


def _count(rows: QuerySet, stretch: Stretch, buckets: list[Bucket]) -> None:
    """Fill the buckets from the first to the last one."""
    by_start = {bucket.start: bucket for bucket in buckets}
    counted = (
        started_between(rows, buckets[0].start, buckets[-1].end)
        .order_by()
        .values(at=stretch.trunc("started_at"))
        .annotate(**_SUMS)
    )
    for row in counted:
        bucket = by_start.get(_floor(row.pop("at"), stretch.bucket))
        if bucket is None:
            continue
        for name, value in row.items():
            setattr(bucket, name, getattr(bucket, name) + (value or 0))


def _floor(moment: datetime, bucket: timedelta) -> datetime:
    seconds = bucket.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, tz=UTC)


def _empty_buckets(stretch: Stretch, now: datetime) -> list[Bucket]:
    last = _floor(now, stretch.bucket)
    count = int(stretch.length / stretch.bucket)
    starts = [last - stretch.bucket * back for back in reversed(range(count))]
    return [Bucket(start, start + stretch.bucket) for start in starts]


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How often interceptions ended with one type of error."""

    error_type: str
    count: int

    @property
    def label(self) -> str:
        return _ERROR_LABELS.get(self.error_type, self.error_type)


def errors_by_type(rows: QuerySet, since: datetime) -> list[ErrorCount]:
    """Return the error types since a moment, the most frequent first."""
    counted = (
        started_between(rows, since, None)
        .filter(outcome=Outcome.FAILED)
        .order_by()
        .values("error_type")
        .annotate(count=Count("pk"))
        .order_by("-count", "error_type")
    )
    return [ErrorCount(row["error_type"], row["count"]) for row in counted]


@dataclass(frozen=True, slots=True)
class Load:
    """How much something was asked for, and how often in vain."""

    requests: int = 0
    failed: int = 0


def load_by_provider(since: datetime) -> dict[UUID, Load]:
    """Return the interceptions since a moment for each provider id."""
    counted = (
        Interception.objects.filter(started_at__gte=since, provider__isnull=False)
        .order_by()
        .values("provider_id")
        .annotate(requests=_SUMS["requests"], failed=_SUMS["failed"])
    )
    return {row["provider_id"]: Load(row["requests"], row["failed"]) for row in counted}


def load_by_key(since: datetime) -> dict[UUID, Load]:
    """Return the attempts since a moment for each key id."""
    in_vain = ~Q(outcome__in=(AttemptOutcome.ACCEPTED, AttemptOutcome.CANCELLED))
    counted = (
        Attempt.objects.filter(started_at__gte=since, key__isnull=False)
        .order_by()
        .values("key_id")
        .annotate(requests=Count("pk"), failed=Count("pk", filter=in_vain))
    )
    return {row["key_id"]: Load(row["requests"], row["failed"]) for row in counted}


def latest_failures(rows: QuerySet, most: int) -> list[Interception]:
    """Return the newest interceptions that ended with an error."""
    failed = rows.filter(outcome=Outcome.FAILED).select_related("initiator")
    return list(failed.order_by("-id")[:most])

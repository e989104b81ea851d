"""Moments in queries: reading them, and the ids that interceptions of a time have.

Ids are UUIDv7, so a range of time is a range of ids, which every list can walk. That
holds for rows written by the recorder; rows whose start was set by hand (an import) are
found by an index of their own, and while there are any in a range, ids say nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.utils import timezone

# An id is made within this time of its interception's start.
SLACK = timedelta(minutes=1)

_EARLIEST = datetime(1, 1, 3, tzinfo=UTC)
_LATEST = datetime(9999, 12, 29, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?P<clock>\d\d:\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r"(?P<zone>[Zz]|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)


def parse_moment(text: str) -> datetime | None:
    """Return the moment in UTC, None when the text is none; nanoseconds are cut."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    # A leap second is the last moment of its minute: Python's clock has none.
    leap = found["second"] == "60"
    second = "59" if leap else found["second"] or "00"
    fraction = "999999" if leap else (found["fraction"] or "0")[:6].ljust(6, "0")
    zone = (found["zone"] or "").upper().replace("Z", "+00:00")
    clock = found["clock"] or "00:00"
    try:
        moment = datetime.fromisoformat(
            f"{found['date']}T{clock}:{second}.{fraction}{zone}"
        )
        return _in_utc(moment)
    except (ValueError, OverflowError):
        return None


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        moment = timezone.make_aware(moment)
    bare = moment.replace(tzinfo=UTC)
    if not _EARLIEST <= bare <= _LATEST:
        # At the ends of the calendar a zone would lead out of it.
        return min(max(bare, _EARLIEST), _LATEST)
    return moment.astimezone(UTC)


def first_id_at(moment: datetime) -> UUID:
    """Return the smallest UUIDv7 of the moment's millisecond."""
    milliseconds = max(0, (moment - _EPOCH) // timedelta(milliseconds=1))
    return UUID(int=min(milliseconds, 2**48 - 1) << 80)


def started_between(
    rows: QuerySet, after: datetime | None, before: datetime | None
) -> QuerySet:
    """Return the interceptions that started in a range, both bounds included."""
    if after is None and before is None:
        return rows
    condition = Q()
    if after is not None:
        condition &= Q(started_at__gte=after)
    if before is not None:
        condition &= Q(started_at__lte=before)
    if _ids_tell_time(rows, condition):
        if after is not None:
            condition &= Q(id__gte=first_id_at(after - SLACK))
        if before is not None:
            condition &= Q(id__lt=first_id_at(before + SLACK))
    return rows.filter(condition)


def _ids_tell_time(rows: QuerySet, condition: Q) -> bool:
    """Say whether every row in the range has an id of its time; one cheap query."""
    if connection.vendor != "postgresql":
        return False
    misplaced = RawSQL(MISPLACED, (), output_field=BooleanField())
    return not rows.model.objects.filter(condition).filter(misplaced).exists()


# The condition of the partial index interception_misplaced, word for word.
MISPLACED = (
    "(abs((('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint)"
    " - (extract(epoch from started_at AT TIME ZONE 'UTC') * 1000)::bigint)"
    " > 60000)"
)

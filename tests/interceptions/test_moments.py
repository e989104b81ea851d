"""Reading moments, and ranges of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from interceptions.models import Interception
from interceptions.moments import first_id_at, parse_moment, started_between
from providers.ids import new_id
from tests.interceptions.rows import make_interception, make_user

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01t12:00:00z", NOON),
        ("2026-03-01T13:30:00+01:30", NOON),
        ("2026-03-01T12:00:00.123456789Z", NOON.replace(microsecond=123456)),
        ("2026-03-01 12:00", NOON),
        ("2026-03-01", NOON.replace(hour=0)),
        ("2026-03-01T11:59:60Z", NOON - timedelta(microseconds=1)),
        ("0001-01-01T00:00:00+23:59", datetime(1, 1, 3, tzinfo=UTC)),
        ("9999-12-31T23:59:59-23:59", datetime(9999, 12, 29, tzinfo=UTC)),
    ],
)
def test_moment_is_read(text, moment):
    assert parse_moment(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "2026",
        "2026-02-30",
        "2026-03-01T25:00:00Z",
        "2026-03-01T12",
        "٢٠٢٦-03-01",
    ],
)
def test_what_is_no_moment_is_refused(text):
    assert parse_moment(text) is None


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    moment = parse_moment(text)
    assert moment is None or moment.tzinfo is not None


@given(st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC)))
def test_any_written_moment_comes_back(moment):
    found = parse_moment(moment.isoformat())
    lowest, highest = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)
    assert found == min(max(moment, lowest), highest)


def test_ids_are_ordered_like_their_moments():
    before, own, after = (
        first_id_at(datetime.now(UTC) - timedelta(seconds=1)),
        new_id(),
        first_id_at(datetime.now(UTC) + timedelta(seconds=1)),
    )
    assert before < own < after


@pytest.fixture
def ana(db):
    return make_user("ana")


def test_rows_are_found_whose_start_was_set_by_hand(ana):
    imported = make_interception(ana, started_at=NOON)
    own = make_interception(ana)
    rows = Interception.objects.all()
    assert list(started_between(rows, None, NOON)) == [imported]
    late = NOON + timedelta(hours=1)
    assert list(started_between(rows, late, None)) == [own]


def test_rows_of_other_years_are_found_by_their_ids(ana):
    old = make_interception(ana, id=first_id_at(NOON), started_at=NOON)
    make_interception(ana)
    around = (NOON - timedelta(hours=1), NOON + timedelta(hours=1))
    with CaptureQueriesContext(connection) as queries:
        assert list(started_between(Interception.objects.all(), *around)) == [old]
    by_id = '"id" >= ' in queries[-1]["sql"]
    assert by_id == (connection.vendor == "postgresql")


def test_no_range_asks_nothing(ana, django_assert_num_queries):
    with django_assert_num_queries(0):
        started_between(Interception.objects.all(), None, None)

"""Sums of recent traffic, and what of them is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache

from interceptions.models import Interception
from interceptions.traffic import STRETCHES, load_by_key, series
from providers import keystate
from providers.models import AiProvider
from tests.interceptions.happenings import happen
from tests.interceptions.rows import attempt_facts, make_interception

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 4, 15, 20, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_kept():
    cache.clear()


def buckets(name="24h", now=NOW):
    return series(Interception.objects.all(), STRETCHES[name], now, whose="test")


def at(user, moment, **fields):
    ended = {"ended_at": moment + timedelta(seconds=1)}
    return make_interception(user, started_at=moment, **ended | fields)


@pytest.mark.parametrize(("name", "count"), [("1h", 30), ("24h", 24), ("7d", 28)])
def test_buckets_join_without_gaps_and_end_now(member, name, count):
    found = buckets(name)
    assert len(found) == count
    assert all(a.end == b.start for a, b in zip(found, found[1:], strict=False))
    assert found[-1].start <= NOW < found[-1].end


@pytest.mark.parametrize("name", list(STRETCHES))
def test_each_row_is_counted_once_where_it_belongs(member, name):
    moments = [NOW - timedelta(minutes=age) for age in (0, 1, 3, 57)]
    for moment in moments:
        at(member, moment, input_tokens=7, cache_read_input_tokens=5)
    found = buckets(name)
    for bucket in found:
        inside = sum(bucket.start <= moment < bucket.end for moment in moments)
        assert bucket.requests == inside
    assert sum(b.input_tokens for b in found) == 28
    assert sum(b.cached_tokens for b in found) == 20


def test_outcomes_are_told_apart(member):
    at(member, NOW, error_type="timeout", error_message="late")
    at(member, NOW, cancelled=True)
    at(member, NOW)
    at(member, NOW, ended_at=None)
    last = buckets()[-1]
    assert (last.requests, last.failed, last.cancelled) == (4, 1, 1)
    assert last.succeeded == 2


def test_settled_buckets_are_kept_and_recent_ones_are_not(member):
    old, recent = NOW - timedelta(hours=5), NOW - timedelta(minutes=30)
    at(member, old)
    at(member, recent)
    assert sum(b.requests for b in buckets()) == 2
    at(member, old)
    at(member, recent)
    assert sum(b.requests for b in buckets()) == 3
    cache.clear()
    assert sum(b.requests for b in buckets()) == 4


def test_keys_are_told_how_often_they_were_tried_in_vain(member):
    provider = AiProvider.objects.create(name="main", kind="anthropic")
    key = keystate.add_key(provider, "sk-one")
    outcomes = ("accepted", "rate_limited", "unauthorized", "cancelled")
    tries = [attempt_facts(key_id=key.pk, outcome=outcome) for outcome in outcomes]
    happen(member, attempts=tries)
    load = load_by_key(datetime.now(UTC) - timedelta(hours=1))[key.pk]
    assert (load.requests, load.failed) == (4, 2)

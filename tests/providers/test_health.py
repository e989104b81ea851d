"""What people are told about the health of providers and keys."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from providers.health import (
    OFF,
    STATE_LABELS,
    in_state,
    key_health,
    provider_health,
    with_key_counts,
)
from providers.keypool import KeyState
from providers.models import AiProvider, ApiKey
from tests.commands import run

pytestmark = pytest.mark.django_db

NOW = timezone.now()
SOON = NOW + timedelta(minutes=5)


def health_of(name):
    return next(h for h in provider_health(NOW) if h.provider.name == name)


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({}, KeyState.VALID),
        ({"cooldown_until": SOON}, KeyState.TEMPORARY),
        ({"cooldown_until": NOW}, KeyState.VALID),
        ({"retired_at": NOW}, KeyState.PERMANENT),
        ({"retired_at": NOW, "cooldown_until": SOON}, KeyState.PERMANENT),
        ({"enabled": False, "retired_at": NOW}, OFF),
    ],
)
def test_state_in_python_and_in_queries_is_the_same(make_provider, columns, state):
    make_provider("main", "sk-one")
    ApiKey.objects.update(**columns)
    assert key_health(ApiKey.objects.get(), NOW).state == state
    found = {
        s for s in STATE_LABELS if ApiKey.objects.filter(in_state(s, NOW)).exists()
    }
    assert found == {state}


def test_resting_key_tells_until_when_and_why(make_provider):
    make_provider("main", "sk-one")
    ApiKey.objects.update(cooldown_until=SOON, reason="quota")
    (key,) = health_of("main").keys
    assert (key.until, key.reason) == (SOON, "out of quota")


def test_key_back_in_service_has_no_reason_left(make_provider):
    make_provider("main", "sk-one")
    ApiKey.objects.update(cooldown_until=NOW, reason="rate_limited")
    (key,) = health_of("main").keys
    assert (key.until, key.reason) == (None, "")


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        ({}, {}, "healthy"),
        ({"retired_at": NOW}, {}, "degraded"),
        ({"retired_at": NOW}, {"cooldown_until": SOON}, "down"),
        ({"enabled": False}, {}, "healthy"),
        ({"enabled": False}, {"enabled": False}, "empty"),
    ],
)
def test_provider_is_as_healthy_as_its_keys(make_provider, first, second, state):
    provider = make_provider("main", "sk-one", "sk-two")
    for key, columns in zip(provider.keys.all(), (first, second), strict=True):
        if columns:
            ApiKey.objects.filter(pk=key.pk).update(**columns)
    assert health_of("main").state == state


def test_provider_without_keys_of_its_own_is_healthy(make_provider):
    make_provider("pilot", kind="copilot")
    assert health_of("pilot").state == "healthy"


def test_disabled_provider_is_disabled_whatever_its_keys_are(make_provider):
    make_provider("main", "sk-one", enabled=False)
    assert health_of("main").state == "disabled"


def test_counts_match_the_states(make_provider):
    provider = make_provider("main", "sk-one", "sk-two", "sk-three")
    make_provider("empty")
    first = provider.keys.first()
    ApiKey.objects.filter(pk=first.pk).update(retired_at=NOW)
    rows = with_key_counts(AiProvider.objects.all(), NOW)
    counts = {row.name: (row.keys_healthy, row.keys_total) for row in rows}
    assert counts == {"main": (2, 3), "empty": (0, 0)}


def test_overview_of_all_costs_two_queries(make_provider, django_assert_num_queries):
    for number in range(5):
        make_provider(f"p-{number}", f"sk-{number}")
    with django_assert_num_queries(2):
        provider_health(NOW)


def test_provider_of_an_unsupported_kind_is_broken_and_stops_no_other(make_provider):
    make_provider("main", "sk-one")
    odd = make_provider("odd")
    AiProvider.objects.filter(pk=odd.pk).update(kind="vercel")
    states = {health.provider.name: health.state for health in provider_health(NOW)}
    assert states == {"main": "healthy", "odd": "broken"}
    listed = run("providers", "list", "--format", "json")
    assert [row["state"] for row in json.loads(listed)] == ["healthy", "broken"]

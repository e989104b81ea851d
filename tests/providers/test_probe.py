"""Retired keys come back by themselves, by one process at a time."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from providers import keystate, leases, probe, registry
from providers.models import ApiKey, KeyEvent, Lease

pytestmark = pytest.mark.django_db(transaction=True)

KEY_A, KEY_B = "sk-ant-api03-aaaaaaaa", "sk-ant-api03-bbbbbbbb"


@pytest.fixture
def retired(make_provider, upstream):
    """Return a function that makes a provider whose first key was retired long ago."""

    def make(**fields: object):
        values = {"base_url": upstream.url, "probe_interval": 300} | fields
        row = make_provider("main", KEY_A, KEY_B, **values)
        ApiKey.objects.filter(position=0).update(
            retired_at=timezone.now() - timedelta(hours=1), reason="unauthorized"
        )
        return row

    return make


@pytest.fixture
def row():
    """Return a function that reads the first key."""
    return lambda: ApiKey.objects.get(position=0)


def events() -> list[tuple[str, str, int | None]]:
    found = KeyEvent.objects.order_by("id")
    return list(found.values_list("kind", "actor", "status"))


def test_key_that_upstream_accepts_again_returns(retired, upstream, row):
    retired()
    assert probe.probe_due_keys() == 1
    assert row().retired_at is None
    assert events() == [("returned", "probe", None)]
    assert [request.target for request in upstream.requests] == ["/v1/models"]
    assert upstream.keys_tried == [KEY_A]


def test_key_that_upstream_still_refuses_stays_retired(retired, upstream, row):
    retired()
    upstream.script(KEY_A, 401)
    assert probe.probe_due_keys() == 0
    assert row().retired_at is not None
    assert row().probed_at is not None
    assert row().last_status == 401
    assert events() == [("probe_failed", "probe", 401)]


def test_failures_are_events_only_when_they_begin_or_change(retired, upstream):
    retired()
    for status in (401, 401, 403, 403):
        upstream.script(KEY_A, status)
        probe.probe_due_keys()
        upstream.forget()
        ApiKey.objects.update(probed_at=timezone.now() - timedelta(hours=1))
    assert [status for _, _, status in events()] == [401, 403]


def test_key_is_not_probed_again_before_its_interval(retired, upstream):
    retired()
    upstream.script(KEY_A, 401)
    probe.probe_due_keys()
    probe.probe_due_keys()
    assert len(upstream.requests) == 1
    later = timezone.now() + timedelta(seconds=331)
    assert probe.is_due(ApiKey.objects.get(position=0), later)


def test_first_probe_waits_for_the_interval_after_the_retirement(retired, upstream):
    retired()
    ApiKey.objects.filter(position=0).update(retired_at=timezone.now())
    probe.probe_due_keys()
    assert upstream.requests == []


def test_intervals_of_keys_are_spread(make_provider):
    provider = make_provider("main", *(f"key-{n}" for n in range(20)))
    at = timezone.now()
    ApiKey.objects.update(retired_at=at)
    keys = list(ApiKey.objects.select_related("provider"))
    interval = provider.probe_interval
    early, late = timedelta(seconds=interval * 0.89), timedelta(seconds=interval * 1.11)
    assert not any(probe.is_due(key, at + early) for key in keys)
    assert all(probe.is_due(key, at + late) for key in keys)
    due = [probe.is_due(key, at + timedelta(seconds=interval)) for key in keys]
    assert {True, False} <= set(due)


@pytest.mark.parametrize(
    "fields",
    [
        {"probe_interval": 0},
        {"enabled": False},
        {"deleted_at": "2026-01-01T00:00Z"},
    ],
    ids=["interval 0", "disabled", "deleted"],
)
def test_providers_that_want_no_probe_get_none(retired, upstream, fields):
    retired(**fields)
    assert probe.probe_due_keys() == 0
    assert upstream.requests == []


def test_disabled_and_resting_keys_are_not_probed(retired, upstream):
    retired()
    ApiKey.objects.filter(position=0).update(enabled=False)
    ApiKey.objects.filter(position=1).update(
        cooldown_until=timezone.now() + timedelta(hours=1)
    )
    probe.probe_due_keys()
    assert upstream.requests == []


def test_key_that_cannot_be_decrypted_stops_no_other(retired, upstream):
    from django.db import connection

    retired()
    ApiKey.objects.update(retired_at=timezone.now() - timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_apikey SET secret = 'x' WHERE position = 0")
    assert probe.probe_due_keys() == 1
    assert upstream.keys_tried == [KEY_B]


# One at a time


def test_only_the_holder_of_the_lease_probes(retired, upstream):
    retired()
    until = timezone.now() + timedelta(minutes=1)
    Lease.objects.create(name=probe.LEASE, holder="another node", expires_at=until)
    assert probe.probe_due_keys() == 0
    assert upstream.requests == []
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert probe.probe_due_keys() == 1


def test_lease_is_taken_renewed_and_given_back():
    assert leases.take("job", 60)
    assert leases.take("job", 60)
    held = Lease.objects.get(name="job")
    assert held.expires_at > timezone.now() + timedelta(seconds=50)
    Lease.objects.update(holder="another node")
    assert not leases.take("job", 60)
    leases.release("job")
    assert not leases.take("job", 60)
    Lease.objects.update(holder=held.holder)
    leases.release("job")
    Lease.objects.update(holder="another node")
    assert leases.take("job", 60)


# In the background


def test_retired_key_returns_without_a_restart(retired, upstream, row):
    retired(probe_interval=1)
    upstream.script(KEY_A, 401)
    registry.reload()
    pool = registry.get("main").pool
    assert pool.state(pool.keys[0]) == "permanent"
    prober = probe.Prober()
    prober.start()
    try:
        wait_until(lambda: upstream.keys_tried.count(KEY_A) >= 1)
        upstream.forget()
        wait_until(lambda: row().retired_at is None)
    finally:
        prober.stop()
    registry.reload()
    assert next(registry.get("main").pool.walk()).value == KEY_A
    assert events()[-1] == ("returned", "probe", None)


def test_nothing_is_asked_while_no_key_is_retired(make_provider, upstream):
    make_provider("main", KEY_A, base_url=upstream.url, probe_interval=1)
    registry.reload()
    prober = probe.Prober()
    prober.start()
    threading.Event().wait(1.5)
    prober.stop()
    assert not Lease.objects.exists()
    assert upstream.requests == []


def wait_until(claim, timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not claim():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_probe_that_a_person_overtook_changes_nothing(retired, row):
    retired()
    earlier = row()
    keystate.return_to_service(row(), actor="ana")
    assert not keystate.return_to_service(
        earlier, actor="probe", retired_at=earlier.retired_at
    )
    assert [actor for _, actor, _ in events()] == ["ana"]

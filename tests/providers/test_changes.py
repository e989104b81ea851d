"""Every process hears of changes within a second: two real processes, one database."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import update_last_login
from django.db import connection
from django.utils import timezone

from providers import keystate
from providers.changes import Listener
from providers.models import AiProvider, ApiKey
from proxy.models import GatewayToken

pytestmark = pytest.mark.django_db(transaction=True)

KEY_A, KEY_B = "sk-ant-api03-aaaaaaaa", "sk-ant-api03-bbbbbbbb"
# A tenth of a second as a rule; a busy machine may take longer, but nothing else tells
# the neighbour, which looks for itself every ten minutes only.
WITHIN = 5.0
SILENCE = 1.0


def database_url() -> str:
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    base = os.environ["DATABASE_URL"].rpartition("/")[0]
    return f"{base}/{name}"


class Neighbour:
    """Another process; ``wait_for`` what it says."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        from django.conf import settings

        keys = ",".join(settings.AIBRIDGE_ENCRYPTION_KEYS)
        secrets = {"DATABASE_URL": database_url(), "AIBRIDGE_ENCRYPTION_KEYS": keys}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.providers.neighbour", *arguments],
            cwd=Path(__file__).parents[2],
            env=os.environ | secrets | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._said: list[dict] = []
        self._more = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            with self._more:
                self._said.append(json.loads(line))
                self._more.notify_all()

    def tell(self, command: str) -> None:
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def wait_for(self, claim: Callable[[dict], bool], timeout: float = 20) -> float:
        """Return when (monotonic) the neighbour's last word first met the claim."""
        with self._more:
            assert self._more.wait_for(
                lambda: self._said and claim(self._said[-1]), timeout
            ), self._said[-3:]
            return self._said[-1]["at"]

    def last(self) -> dict:
        return self._said[-1]

    def end(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()


@pytest.fixture
def start_neighbour() -> Iterator[Callable[..., Neighbour]]:
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **environment: str) -> Neighbour:
            started = Neighbour(*arguments, **environment)
            stack.callback(started.end)
            started.wait_for(lambda said: said["live"])
            return started

        yield start


# Workers are greenlets; what a thread does differently shows on either engine.
_KINDS = ["gevent"] if connection.vendor == "postgresql" else ["threads", "gevent"]


@pytest.fixture(params=_KINDS)
def neighbour(request, start_neighbour, main) -> Neighbour:
    """Return a process without an early resync, so that only hearing helps it."""
    started = start_neighbour(request.param, AIBRIDGE_RESYNC_SECONDS="600")
    started.wait_for(lambda said: said["states"] == ["valid", "valid"])
    time.sleep(0.1)
    return started


@pytest.fixture
def main(make_provider) -> AiProvider:
    return make_provider("main", KEY_A, KEY_B)


def test_mark_made_here_is_honoured_there(neighbour, registry):
    registry.reload()
    provider = registry.get("main")
    made = time.monotonic()
    keystate.report_temporary(
        provider, provider.pool.keys[0], cooldown=60, reason="rate_limited", status=429
    )
    heard = neighbour.wait_for(lambda said: said["states"] == ["temporary", "valid"])
    assert heard - made < WITHIN
    made = time.monotonic()
    keystate.report_permanent(
        provider, provider.pool.keys[0], reason="unauthorized", status=401
    )
    heard = neighbour.wait_for(lambda said: said["states"] == ["permanent", "valid"])
    assert heard - made < WITHIN


def test_mark_made_there_is_honoured_here(neighbour, registry):
    listener = Listener()
    registry.reload()
    listener.subscribe("keys", registry.reload)
    listener.start()
    pool = registry.get("main").pool
    try:
        wait_until(listener.is_live)
        made = time.monotonic()
        neighbour.tell("retire")
        wait_until(lambda: pool.state(pool.keys[0]) == "permanent")
        assert time.monotonic() - made < WITHIN
    finally:
        listener.stop()


def test_return_to_service_is_heard(neighbour, main):
    first = main.keys.first()
    neighbour.tell("retire")
    neighbour.wait_for(lambda said: said["states"] == ["permanent", "valid"])
    wait_until(lambda: ApiKey.objects.get(pk=first.pk).retired_at)
    returned = time.monotonic()
    keystate.return_to_service(ApiKey.objects.get(pk=first.pk), actor="ana")
    heard = neighbour.wait_for(lambda said: said["states"] == ["valid", "valid"])
    assert heard - returned < WITHIN


def test_new_changed_and_deleted_providers_are_heard(neighbour, make_provider):
    changed = time.monotonic()
    make_provider("second", KEY_A)
    heard = neighbour.wait_for(lambda said: said["providers"] == ["main", "second"])
    assert heard - changed < WITHIN
    changed = time.monotonic()
    AiProvider.objects.filter(name="second").update(deleted_at=timezone.now())
    heard = neighbour.wait_for(lambda said: said["providers"] == ["main"])
    assert heard - changed < WITHIN


def test_revoked_token_and_deactivated_user_are_heard(neighbour):
    user = get_user_model().objects.create_user("ana")
    token = GatewayToken.objects.create(owner=user, name="t", prefix="p", digest="d")
    settle(neighbour)
    before, changed = neighbour.last()["topics"], time.monotonic()
    GatewayToken.objects.filter(pk=token.pk).update(revoked_at=timezone.now())
    heard = neighbour.wait_for(lambda said: said["topics"]["tokens"] > before["tokens"])
    assert heard - changed < WITHIN
    changed = time.monotonic()
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    heard = neighbour.wait_for(lambda said: said["topics"]["users"] > before["users"])
    assert heard - changed < WITHIN


def test_last_use_login_and_unchanged_saves_are_not_announced(neighbour):
    user = get_user_model().objects.create_user("ana")
    token = GatewayToken.objects.create(owner=user, name="t", prefix="p", digest="d")
    settle(neighbour)
    before = neighbour.last()["topics"]
    GatewayToken.objects.filter(pk=token.pk).update(last_used_at=timezone.now())
    update_last_login(None, user)
    user.save()
    time.sleep(SILENCE)
    assert neighbour.last()["topics"] == before


def settle(neighbour: Neighbour) -> None:
    """Wait until nothing more is said of what was changed before."""
    seen = None
    while seen != neighbour.last():
        seen = neighbour.last()
        time.sleep(0.7)


def wait_until(claim: Callable[[], object], timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while not claim():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


# The listener itself


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.stop()


def test_listener_tells_everything_once_at_the_start(listener):
    told = threading.Event()
    listener.subscribe("keys", told.set)
    assert not listener.is_live()
    listener.start()
    assert told.wait(10)
    assert listener.is_live()
    listener.stop()
    assert not listener.is_live()


def test_failing_subscriber_is_called_again_and_stops_no_other(listener, caplog):
    calls, told = [], threading.Event()

    def fail_twice() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError("not yet")

    listener.subscribe("keys", fail_twice)
    listener.subscribe("keys", told.set)
    listener.start()
    assert told.wait(10)
    wait_until(lambda: len(calls) >= 3)
    messages = [record.msg for record in caplog.records]
    assert messages.count("change not taken over") == 1


def test_subscriber_of_two_topics_is_told_once_per_round(listener):
    calls = []

    def told() -> None:
        calls.append(1)

    listener.subscribe("keys", told)
    listener.subscribe("providers", told)
    listener.deliver({"keys", "providers"})
    assert len(calls) == 1


def test_burst_of_changes_is_told_in_a_few_rounds(listener, make_provider):
    make_provider("main", KEY_A)
    calls = []

    def work() -> None:
        calls.append(time.monotonic())
        time.sleep(0.02)

    listener.subscribe("keys", work)
    listener.start()
    wait_until(lambda: calls)
    for position in range(100):
        ApiKey.objects.update(position=position)
    last = time.monotonic()
    wait_until(lambda: calls[-1] > last or time.monotonic() > last + 0.9)
    assert len(calls) < 20


def test_resync_tells_everything_now_and_then(listener, settings):
    settings.AIBRIDGE_RESYNC_SECONDS = 0.1
    calls = []
    listener.subscribe("keys", lambda: calls.append(1))
    listener.start()
    wait_until(lambda: len(calls) >= 3)


def test_listener_survives_an_absent_database(listener):
    told = threading.Event()
    listener.subscribe("keys", told.set)
    original = connection.settings_dict["NAME"]
    absent = "/nonexistent/x" if connection.vendor == "sqlite" else "no_such_db"
    connection.close()
    connection.settings_dict["NAME"] = absent
    try:
        listener.start()
        time.sleep(0.3)
        assert not listener.is_live()
    finally:
        connection.settings_dict["NAME"] = original
    assert told.wait(10)
    assert listener.is_live()


@pytest.mark.postgres
def test_listener_reconnects_when_its_connection_is_killed(listener, make_provider):
    if connection.vendor != "postgresql":
        pytest.skip("there is no connection to kill")
    calls = []
    listener.subscribe("providers", lambda: calls.append(time.monotonic()))
    listener.start()
    wait_until(lambda: calls)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query = 'LISTEN aibridge' AND datname = current_database()"
        )
        assert cursor.rowcount == 1
    wait_until(lambda: len(calls) >= 2)
    wait_until(listener.is_live)
    before = len(calls)
    changed = time.monotonic()
    make_provider("new")
    wait_until(lambda: len(calls) > before)
    assert calls[-1] - changed < WITHIN


@pytest.mark.postgres
def test_listener_holds_one_connection_and_leaks_none(listener, make_provider):
    if connection.vendor != "postgresql":
        pytest.skip("connections are files there")
    calls = []

    def query() -> None:
        AiProvider.objects.count()
        calls.append(1)

    listener.subscribe("providers", query)
    listener.start()
    for number in range(5):
        wait_until(lambda number=number: len(calls) > number)
        make_provider(f"provider-{number}")
    wait_until(lambda: len(calls) >= 5)
    wait_until(lambda: connections_open() == 2)


def connections_open() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        return cursor.fetchone()[0]

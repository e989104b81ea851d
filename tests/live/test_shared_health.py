"""A key's health is known to every worker of every node, and outlives them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.db import connection

from providers.models import ApiKey, KeyEvent, KeyEventKind
from tests.live.apis import CHAT, MESSAGES
from tests.live.gateway import Gateway
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live


def call_all(
    nodes: list[Gateway], provider: str, token: str, times: int, callers: int = 8
) -> Counter:
    """Call every node ``times`` times on fresh connections; return the statuses."""

    def call(number: int) -> int:
        node = nodes[number % len(nodes)]
        return MESSAGES.call(node.url, provider, token).status_code

    with ThreadPoolExecutor(callers) as pool:
        return Counter(pool.map(call, range(times * len(nodes))))


@pytest.mark.postgres
@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="several nodes need PostgreSQL"
)
def test_cooldown_made_by_one_worker_is_honoured_by_every_worker_of_every_node(
    start_gateway, upstream: FakeUpstream, make_provider, wait_served, token
):
    nodes = [start_gateway(workers=2) for _ in range(2)]
    provider = make_provider("anthropic", ("resting", "healthy"))
    upstream.script("resting", 429, {"retry-after": "60"}).script("healthy")
    for node in nodes:
        wait_served(node, provider)

    began = time.monotonic()
    # One after another: two that a worker gets at once would both ask.
    statuses = call_all(nodes, provider.name, token, 20, callers=1)
    time.sleep(max(0.0, began + 1 - time.monotonic()))
    first_second = upstream.keys_tried.count("resting")
    later = call_all(nodes, provider.name, token, 40)
    after = upstream.keys_tried.count("resting") - first_second

    for node in nodes:
        node.stop()
    for node in nodes:
        node.start()
    restarted = call_all(nodes, provider.name, token, 20)
    assert time.monotonic() - began < 60, "too slow to prove anything"
    after_restart = upstream.keys_tried.count("resting") - first_second - after
    print(
        f"resting key asked: {first_second} times in the first second by 4 workers, "
        f"{after} afterwards, {after_restart} after both nodes restarted; "
        f"{sum((statuses + later + restarted).values())} requests"
    )
    assert statuses + later + restarted == {200: 160}
    assert 1 <= first_second <= 4
    assert after == 0
    assert after_restart == 0


def test_retired_key_returns_by_probe_without_a_restart(
    start_gateway, upstream: FakeUpstream, make_provider, wait_served, token
):
    node = start_gateway(workers=2)
    provider = make_provider("openai", ("only",), probe_interval=1)
    wait_served(node, provider)
    upstream.script("only", 401)
    assert CHAT.call(node.url, provider.name, token).status_code == 502
    assert CHAT.call(node.url, provider.name, token).status_code == 502
    upstream.forget()
    deadline = time.monotonic() + 20
    while CHAT.call(node.url, provider.name, token).status_code != 200:
        assert time.monotonic() < deadline, node.output()
        time.sleep(0.1)
    key = provider.keys.get()
    assert key.retired_at is None
    event = KeyEvent.objects.filter(key=key).first()
    assert (event.kind, event.actor) == (KeyEventKind.RETURNED, "probe")


def test_no_client_sees_an_error_while_one_key_works(
    gateway, upstream: FakeUpstream, served, token
):
    keys = tuple(f"key-{n}" for n in range(5))
    provider = served("anthropic", keys)
    stop = threading.Event()

    def disturb() -> None:
        """Let keys die and return; the last one always works."""
        number = 0
        while not stop.is_set():
            key = keys[number % 4]
            status, headers = [(429, {"retry-after-ms": "150"}), (200, {})][number % 2]
            upstream.script(key, status, headers, times=3)
            number += 1
            time.sleep(0.01)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    limits = httpx.Limits(max_connections=200)
    try:
        with httpx.Client(limits=limits, timeout=60) as client:

            def call(number: int) -> int:
                return client.post(
                    f"{gateway.url}/aibridge/{provider.name}/v1/messages",
                    json=MESSAGES.body(streaming=bool(number % 2)),
                    headers={"X-Api-Key": token},
                ).status_code

            with ThreadPoolExecutor(200) as pool:
                statuses = Counter(pool.map(call, range(600)))
    finally:
        stop.set()
        disturber.join()
    tried = Counter(upstream.keys_tried)
    print(f"{statuses[200]} of 600 answered, keys tried {dict(tried)}")
    assert statuses == {200: 600}
    assert len(tried) > 1


def test_admins_return_is_heard_and_an_old_mark_does_not_undo_it(
    gateway, upstream: FakeUpstream, served, token
):
    from providers.keystate import return_to_service

    provider = served("anthropic", ("only",))
    upstream.script("only", 401, times=1).script("only", 200)
    assert MESSAGES.call(gateway.url, provider.name, token).status_code == 502
    key = _retired(provider.keys.get())
    return_to_service(key, actor="alice")
    deadline = time.monotonic() + 10
    while MESSAGES.call(gateway.url, provider.name, token).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    assert MESSAGES.call(gateway.url, provider.name, token).status_code == 200
    assert KeyEvent.objects.filter(key=key).first().actor == "alice"


def _retired(key: ApiKey) -> ApiKey:
    deadline = time.monotonic() + 30
    while key.retired_at is None and time.monotonic() < deadline:
        time.sleep(0.02)
        key.refresh_from_db()
    assert key.retired_at is not None
    return key


def test_edit_of_the_provider_keeps_its_keys_marks(
    gateway, upstream: FakeUpstream, served, token
):
    provider = served("anthropic", ("resting", "healthy"))
    upstream.script("resting", 429, {"retry-after": "30"}).script("healthy")
    assert MESSAGES.call(gateway.url, provider.name, token).status_code == 200
    provider.display_name = "Edited"
    provider.save()
    time.sleep(1)
    assert MESSAGES.call(gateway.url, provider.name, token).status_code == 200
    assert upstream.keys_tried == ["resting", "healthy", "healthy"]

"""Silence, slowness and shutdown: what waits, what is cut, and what is said."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import httpx
import pytest

from interceptions.models import Interception
from tests.live.apis import APIS, MESSAGES, Api
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live


@pytest.fixture(params=APIS, ids=lambda api: api.name)
def api(request) -> Api:
    return request.param


@pytest.fixture
def impatient(start_gateway):
    """Start a node whose heartbeat comes after 0.2 s of silence."""
    return start_gateway(AIBRIDGE_HEARTBEAT_SECONDS=0.2)


def row_of(answer: httpx.Response) -> Interception:
    return Interception.objects.get(pk=answer.headers["x-aibridge-interception-id"])


def test_silence_is_filled_with_heartbeats_that_sdks_ignore(
    api, impatient, upstream: FakeUpstream, make_provider, wait_served, token
):
    provider = make_provider(api.kind)
    wait_served(impatient, provider)
    upstream.script("key-a", deltas=2, delay=0.5)
    answer = api.call(impatient.url, provider.name, token, streaming=True)
    beat = b"event: ping" if api is MESSAGES else b": "
    assert answer.content.count(beat) >= 2
    assert api.terminal in answer.content
    assert row_of(answer).outcome == "completed"


def test_blocking_answer_beyond_its_total_time_is_504(
    api, gateway, upstream: FakeUpstream, served, token, wait_ended
):
    provider = served(api.kind, total_timeout=0.4)
    upstream.script("key-a", hang=True)
    answer = api.call(gateway.url, provider.name, token)
    assert answer.status_code == 504
    row = row_of(answer)
    assert row.error_type == "timeout"
    assert row.attempts.get().outcome == "timeout"


def test_stream_that_falls_silent_ends_with_an_error_event(
    api, gateway, upstream: FakeUpstream, served, token
):
    provider = served(api.kind, idle_timeout=0.5)
    upstream.script("key-a", deltas=20, silent_after=700)
    answer = api.call(gateway.url, provider.name, token, streaming=True)
    assert answer.status_code == 200
    assert b'"error"' in answer.content
    assert api.terminal not in answer.content.replace(b"data: [DONE]", b"")
    assert row_of(answer).error_type == "timeout"


def test_refused_connection_is_502_and_no_fault_of_the_key(
    api, gateway, upstream: FakeUpstream, served, token
):
    provider = served(api.kind)
    upstream.refuse()
    answer = api.call(gateway.url, provider.name, token)
    assert answer.status_code == 502
    row = row_of(answer)
    assert row.error_type == "server_error"
    assert row.attempts.get().outcome == "unreachable"
    assert provider.keys.get().cooldown_until is None


def test_client_that_reads_slowly_gets_everything(
    gateway, upstream: FakeUpstream, served, token
):
    provider = served("anthropic")
    upstream.script("key-a", text="x" * 3_000_000, deltas=300)
    body = MESSAGES.body(streaming=True)
    size = 0
    with httpx.stream(
        "POST",
        f"{gateway.url}/aibridge/{provider.name}/v1/messages",
        json=body,
        headers={"X-Api-Key": token},
    ) as answer:
        for number, chunk in enumerate(answer.iter_raw()):
            size += len(chunk)
            if number < 5:
                time.sleep(0.1)
    assert size == len(upstream.last.sent)


def test_shutdown_lets_a_stream_finish(
    start_gateway, upstream: FakeUpstream, make_provider, wait_served, token
):
    node = start_gateway()
    provider = make_provider("anthropic")
    wait_served(node, provider)
    upstream.script("key-a", deltas=10, delay=0.15)
    answers: list[httpx.Response] = []
    client = threading.Thread(
        target=lambda: answers.append(
            MESSAGES.call(node.url, provider.name, token, streaming=True)
        )
    )
    client.start()
    upstream.wait_for(1)
    node.stop()
    client.join(10)
    assert MESSAGES.terminal in answers[0].content
    assert row_of(answers[0]).outcome == "completed"


def test_shutdown_cuts_and_records_a_stream_that_outlasts_its_grace(
    start_gateway, upstream: FakeUpstream, make_provider, wait_served, token
):
    node = start_gateway(AIBRIDGE_GRACEFUL_SECONDS=6)
    provider = make_provider("anthropic")
    wait_served(node, provider)
    upstream.script("key-a", deltas=100, delay=1)
    answers: list[httpx.Response] = []
    client = threading.Thread(
        target=lambda: answers.append(
            MESSAGES.call(node.url, provider.name, token, streaming=True)
        )
    )
    client.start()
    upstream.wait_for(1)
    node.stop()
    client.join(10)
    assert b"event: error" in answers[0].content
    row = row_of(answers[0])
    assert (row.outcome, row.error_type) == ("failed", "server_error")
    assert "shut down" in row.error_message


def test_worker_that_is_killed_is_replaced_and_its_requests_are_swept(
    start_gateway, upstream: FakeUpstream, make_provider, wait_served, token, wait_ended
):
    node = start_gateway(AIBRIDGE_SWEEP_SECONDS=1)
    provider = make_provider("anthropic")
    wait_served(node, provider)
    upstream.script("key-a", deltas=100, delay=0.5, times=1)
    client = threading.Thread(target=_swallow, args=(node, provider, token))
    client.start()
    upstream.wait_for(1)
    os.kill(node.workers()[0], signal.SIGKILL)
    client.join(10)
    node.wait_until_ready()
    upstream.script("key-a")
    assert MESSAGES.call(node.url, provider.name, token).status_code == 200
    first = Interception.objects.filter(provider_name=provider.name).last()
    deadline = time.monotonic() + 20
    while first.ended_at is None and time.monotonic() < deadline:
        time.sleep(0.1)
        first.refresh_from_db()
    assert (first.outcome, first.error_type) == ("failed", "unknown")
    assert first.error_message


def _swallow(node, provider, token) -> None:
    with contextlib.suppress(httpx.HTTPError):
        MESSAGES.call(node.url, provider.name, token, streaming=True)

"""The circuit breaker as table 30.19 of the behaviour page says, end to end."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from interceptions.models import Interception
from tests.live.apis import CHAT, MESSAGES, Api
from tests.live.gateway import Gateway
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live

BREAKER = {
    "breaker_enabled": True,
    "breaker_threshold": 2,
    "breaker_interval": 60,
    "breaker_timeout": 0.05,
    "breaker_max_requests": 1,
    "allow_byok": True,
}
LIMITED = {"x-should-retry": "false"}


@pytest.fixture(params=[MESSAGES, CHAT], ids=lambda api: api.name)
def api(request) -> Api:
    return request.param


@pytest.fixture
def call(api: Api, gateway: Gateway, served, token):
    """Return a function that makes a provider's call with the caller's own key.

    An own key gets one attempt, so upstream's 429 is the answer.
    """

    def make(**changes):
        provider = served(api.kind, **(BREAKER | changes))

        def ask(**fields):
            return api.call(
                gateway.url,
                provider.name,
                "own",
                headers={"X-AIBridge-Token": token},
                **fields,
            )

        return ask

    return make


def test_full_recovery_cycle(call, upstream: FakeUpstream):
    upstream.script("own", 429, LIMITED, times=2).script("own", 200)
    ask = call(breaker_timeout=3)
    assert [ask().status_code for _ in range(2)] == [429, 429]
    refused = ask()
    assert refused.status_code == 503
    assert refused.headers["retry-after"] in {"1", "2", "3"}
    assert refused.json()["error"]["message"] == "circuit breaker is open"
    assert len(upstream.requests) == 2
    row = Interception.objects.get(pk=refused.headers["x-aibridge-interception-id"])
    assert (row.outcome, row.error_type) == ("failed", "server_error")
    time.sleep(3.05)
    assert [ask().status_code for _ in range(4)] == [200] * 4


def test_half_open_failure(call, upstream: FakeUpstream):
    upstream.script("own", 429, LIMITED)
    ask = call(breaker_timeout=3)
    assert [ask().status_code for _ in range(3)] == [429, 429, 503]
    time.sleep(3.05)
    assert [ask().status_code for _ in range(2)] == [429, 503]
    assert len(upstream.requests) == 3


def test_half_open_max_requests(call, upstream: FakeUpstream):
    upstream.script("own", 429, LIMITED, times=2).script("own", 200, wait=2)
    ask = call(breaker_timeout=3, breaker_max_requests=2)
    assert [ask().status_code for _ in range(3)] == [429, 429, 503]
    time.sleep(3.05)
    with ThreadPoolExecutor(5) as pool:
        statuses = sorted(pool.map(lambda _: ask().status_code, range(5)))
    assert statuses == [200, 200, 503, 503, 503]
    assert len(upstream.requests) == 4


def test_per_model_isolation(call, upstream: FakeUpstream):
    upstream.script("own", 429, LIMITED, times=2).script("own", 200)
    ask = call(breaker_timeout=30)
    assert [ask(model="sonnet").status_code for _ in range(3)] == [429, 429, 503]
    assert [ask(model="haiku").status_code for _ in range(4)] == [200] * 4


def test_no_breaker_unless_switched_on(call, upstream: FakeUpstream):
    upstream.script("own", 429, LIMITED)
    ask = call(breaker_enabled=False)
    assert [ask().status_code for _ in range(4)] == [429] * 4

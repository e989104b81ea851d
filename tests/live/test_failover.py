"""Keys fail over as tables 30.5, 30.7 and 30.8 of the behaviour page say.

Each test is a row; every row runs for each API, blocking and streaming.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from interceptions.models import Interception
from providers.models import AiProvider, ApiKey
from tests.live.apis import APIS, Api
from tests.live.gateway import Gateway
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live

OK = (200, {})


def limited(seconds: int) -> tuple[int, dict[str, str]]:
    return 429, {"retry-after": str(seconds)}


@dataclass
class Row:
    """Answers by key, and what must come of them."""

    answers: list[tuple[int, dict[str, str]]]
    tried: int
    status: int
    states: str
    retry_after: str | None = None
    contains: str = ""
    error_type: str | None = None


ROWS = {
    "single_valid_key": Row([OK], 1, 200, "valid"),
    "failover_after_429": Row([limited(5), OK], 2, 200, "temporary valid"),
    "failover_after_401": Row([(401, {}), OK], 2, 200, "permanent valid"),
    "failover_after_403": Row([(403, {}), OK], 2, 200, "permanent valid"),
    "all_keys_rate_limited": Row(
        [limited(5), limited(3), limited(10)],
        3,
        429,
        "temporary temporary temporary",
        "3",
        "all configured keys are rate-limited",
        "rate_limited",
    ),
    "all_keys_unauthorized": Row(
        [(401, {}), (401, {})],
        2,
        502,
        "permanent permanent",
        None,
        "all configured keys failed authentication",
        "unauthorized",
    ),
    "server_error_no_failover": Row(
        [(500, {}), OK], 1, 500, "valid valid", error_type="server_error"
    ),
}


def state_of(key: ApiKey) -> str:
    key.refresh_from_db()
    if key.retired_at is not None:
        return "permanent"
    return "temporary" if key.cooldown_until is not None else "valid"


def states_of(provider: AiProvider) -> str:
    return " ".join(state_of(key) for key in provider.keys.order_by("position"))


def wait_for_states(provider: AiProvider, states: str) -> None:
    """Marks are stored behind the request's back, within a second."""
    deadline = time.monotonic() + 2
    while states_of(provider) != states and time.monotonic() < deadline:
        time.sleep(0.02)
    assert states_of(provider) == states


@pytest.fixture(params=[False, True], ids=["blocking", "streaming"])
def streaming(request) -> bool:
    return request.param


@pytest.fixture(params=APIS, ids=lambda api: api.name)
def api(request) -> Api:
    return request.param


@pytest.mark.parametrize("name", ROWS)
def test_failover_row(
    name: str,
    api: Api,
    streaming: bool,
    gateway: Gateway,
    upstream: FakeUpstream,
    served,
    token: str,
):
    row = ROWS[name]
    keys = tuple(f"{name}-k{n}" for n in range(len(row.answers)))
    for key, (status, headers) in zip(keys, row.answers, strict=True):
        fixture = {"fixture": "simple"} if status == 200 else {}
        upstream.script(key, status, headers, **fixture)
    provider = served(api.kind, keys)

    answer = api.call(gateway.url, provider.name, token, streaming=streaming)

    assert answer.status_code == row.status, answer.text
    assert upstream.keys_tried == list(keys[: row.tried])
    assert answer.headers.get("retry-after") == row.retry_after
    assert row.contains in answer.text
    assert "event: error" not in answer.text
    if row.status == 200 and streaming:
        assert api.terminal in answer.content
    wait_for_states(provider, row.states)
    record = Interception.objects.get(pk=answer.headers["x-aibridge-interception-id"])
    assert record.error_type == row.error_type
    assert (record.error_message is None) == (row.error_type is None)
    assert record.status_code == row.status
    hints = list(record.attempts.values_list("key_hint", flat=True))
    assert len(hints) == row.tried
    assert record.credential_hint == hints[-1]


def test_byok_no_failover(api, streaming, gateway, upstream, served, token):
    upstream.script("user-own-key", 429, {"retry-after": "5"})
    provider = served(api.kind, ("pool-key",))

    answer = api.call(
        gateway.url,
        provider.name,
        "user-own-key",
        streaming=streaming,
        headers={"X-AIBridge-Token": token},
    )

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert upstream.keys_tried == ["user-own-key"]
    assert states_of(provider) == "valid"
    record = Interception.objects.get(pk=answer.headers["x-aibridge-interception-id"])
    assert (record.credential_kind, record.credential_hint) == ("byok", "us...ey")


def test_mark_persists_across_requests(
    api, streaming, gateway, upstream, served, token
):
    upstream.script("k0", 429, {"retry-after": "60"}).script("k1", fixture="simple")
    provider = served(api.kind, ("k0", "k1"))

    for _ in range(2):
        answer = api.call(gateway.url, provider.name, token, streaming=streaming)
        assert answer.status_code == 200

    assert upstream.keys_tried == ["k0", "k1", "k1"]
    wait_for_states(provider, "temporary valid")


def test_key_is_put_aside_even_when_the_body_of_its_failure_is_cut(
    api, streaming, gateway, upstream, served, token
):
    upstream.script("k0", 429, {"retry-after": "60"}, cut_after=5)
    upstream.script("k1", fixture="simple")
    provider = served(api.kind, ("k0", "k1"))
    answer = api.call(gateway.url, provider.name, token, streaming=streaming)
    assert answer.status_code == 200
    assert upstream.keys_tried == ["k0", "k1"]
    wait_for_states(provider, "temporary valid")

"""Listed routes through a live gateway (reference tables 30.8 and 30.18)."""

from __future__ import annotations

import time

import httpx
import openai
import pytest

from interceptions.models import Interception
from tests.live.gateway import Gateway
from tests.postgres import free_port
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live


@pytest.fixture
def ask(gateway: Gateway, token: str):
    """Return a function that sends a request to a provider's route."""

    def send(provider, route: str, method: str = "GET", **options) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        return httpx.request(
            method,
            f"{gateway.url}/aibridge/{provider.name}/{route}",
            headers=headers,
            timeout=30,
            **options,
        )

    return send


@pytest.fixture(params=["anthropic", "openai"])
def kind(request) -> str:
    return request.param


def test_answer_and_request_pass_unchanged(kind, ask, served, upstream: FakeUpstream):
    upstream.script(
        "key-a", 201, {"etag": "x", "set-cookie": "a=b"}, body="upstream response"
    )
    provider = served(kind)
    before = Interception.objects.count()
    answer = ask(provider, "v1/models?search=gpt&limit=10", headers={"X-Own": "1"})
    assert (answer.status_code, answer.text) == (201, "upstream response")
    assert answer.headers["etag"] == "x"
    assert "set-cookie" not in answer.headers
    seen = upstream.last
    assert seen.query == "search=gpt&limit=10"
    assert seen.path == ("/v1/models" if kind == "anthropic" else "/models")
    assert seen.header("x-own") == "1"
    assert seen.header("x-forwarded-for") == "127.0.0.1"
    assert seen.header("x-forwarded-proto") == "http"
    assert seen.key == "key-a"
    assert Interception.objects.count() == before


def test_escapes_are_kept(ask, served, upstream: FakeUpstream):
    ask(served("openai"), "v1/models/org%2Fmodel%3A1")
    assert upstream.last.path == "/models/org%2Fmodel%3A1"


@pytest.mark.parametrize(
    "path",
    ["v1/models/%2e%2e/x", "v1/models/..%2Fx", "v1/models/%252e%252e%252fx"],
)
def test_traversal_is_refused(path: str, ask, served, upstream: FakeUpstream):
    answer = ask(served("openai"), path)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "invalid request path"
    assert not upstream.requests


def test_bodies_are_replayed_for_the_next_key(ask, served, upstream: FakeUpstream):
    upstream.script("k0", 429, {"retry-after": "5"}).script("k1", 200, body="ok")
    provider = served("openai", ("k0", "k1"))
    answer = ask(provider, "v1/conversations", "POST", content=b"payload")
    assert answer.text == "ok"
    assert [seen.body for seen in upstream.requests] == [b"payload", b"payload"]
    assert upstream.keys_tried == ["k0", "k1"]


@pytest.mark.parametrize(
    ("script", "seen", "status", "retry_after"),
    [
        ([200], ["k0"], 200, None),
        ([(429, 5), 200], ["k0", "k1"], 200, None),
        ([401, 200], ["k0", "k1"], 200, None),
        ([403, 200], ["k0", "k1"], 200, None),
        ([(429, 5), (429, 3), (429, 10)], ["k0", "k1", "k2"], 429, "3"),
        ([401, 401, 401], ["k0", "k1", "k2"], 502, None),
        ([500], ["k0"], 500, None),
    ],
    ids=[
        "single_valid_key",
        "failover_after_429",
        "failover_after_401",
        "failover_after_403",
        "all_rate_limited",
        "all_unauthorized",
        "server_error_no_failover",
    ],
)
def test_failover(
    script, seen, status, retry_after, kind, ask, served, upstream: FakeUpstream
):
    keys = tuple(f"k{number}" for number in range(max(2, len(script))))
    for key, step in zip(keys, script, strict=False):
        code, wait = step if isinstance(step, tuple) else (step, None)
        upstream.script(key, code, {"retry-after": str(wait)} if wait else {})
    answer = ask(served(kind, keys), "v1/models")
    assert upstream.keys_tried == seen
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == retry_after


@pytest.mark.parametrize("kind", ["anthropic", "openai", "copilot"])
def test_byok_no_failover(kind: str, ask, served, token, upstream: FakeUpstream):
    upstream.script("user-key", 429, {"retry-after": "5"})
    provider = served(kind, () if kind == "copilot" else ("k0",))
    headers = {"X-AIBridge-Token": token, "Authorization": "Bearer user-key"}
    route = "models" if kind == "copilot" else "v1/models"
    answer = ask(provider, route, headers=headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert upstream.keys_tried == ["user-key"]
    assert not upstream.last.header("x-aibridge-token")


def test_nobody_listens(kind, ask, served):
    provider = served(kind, base_url=f"http://127.0.0.1:{free_port()}")
    answer = ask(provider, "v1/models")
    assert answer.status_code == 502
    assert "upstream proxy error" in answer.json()["error"]["message"]


def test_base_url_that_cannot_be_joined(ask, served, upstream: FakeUpstream):
    answer = ask(served("openai", base_url=f"{upstream.url}/%25"), "v1/models")
    assert answer.status_code == 502
    assert "invalid provider base URL" in answer.text


def test_events_are_forwarded_as_they_come(gateway, served, token, upstream):
    upstream.script("key-a", chunks=[b"data: 1\n\n", 1.0, b"data: 2\n\n"])
    provider = served("openai")
    started = time.monotonic()
    with httpx.stream(
        "GET",
        f"{gateway.url}/aibridge/{provider.name}/v1/responses/resp_1?stream=true",
        headers={"Authorization": f"Bearer {token}"},
    ) as answer:
        parts = [(time.monotonic() - started, part) for part in answer.iter_raw()]
    assert b"".join(part for _, part in parts) == b"data: 1\n\ndata: 2\n\n"
    assert parts[-1][0] - parts[0][0] > 0.8


def test_compressed_answer_is_decoded(ask, served, upstream: FakeUpstream):
    upstream.script("key-a", body="hello " * 100, compress=True)
    answer = ask(served("openai"), "v1/models", headers={"Accept-Encoding": "gzip"})
    assert answer.text == "hello " * 100
    assert "content-encoding" not in answer.headers
    assert upstream.last.header("accept-encoding") == "identity"


def test_body_that_is_cut_is_not_made_to_look_whole(ask, served, upstream):
    upstream.script("key-a", body="x" * 1000, cut_after=100)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(served("openai"), "v1/models")


def test_a_connection_is_used_again(ask, served, upstream: FakeUpstream):
    provider = served("openai")
    ask(provider, "v1/models")
    ask(provider, "v1/models")
    assert len({seen.connection for seen in upstream.requests}) == 1


def test_head_and_delete(ask, served, upstream: FakeUpstream):
    provider = served("openai")
    assert ask(provider, "v1/models", "HEAD").status_code == 200
    assert ask(provider, "v1/responses/resp_1", "DELETE").status_code == 200
    assert [seen.method for seen in upstream.requests] == ["HEAD", "DELETE"]


def test_websocket_is_refused(ask, served, upstream: FakeUpstream):
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    answer = ask(served("openai"), "v1/responses", headers=headers)
    assert answer.status_code == 501
    assert "WebSocket transport is not supported, use HTTP" in answer.text


def test_official_client_lists_models(gateway, served, token, upstream):
    base = f"{gateway.url}/aibridge/{served('openai').name}/v1"
    client = openai.OpenAI(base_url=base, api_key=token, max_retries=0)
    assert [model.id for model in client.models.list()] == ["fake-model"]


def test_requests_are_counted(gateway, ask, served):
    provider = served("openai")
    ask(provider, "v1/models")
    metrics = httpx.get(f"{gateway.url}/metrics").text
    assert (
        f'aibridge_passthrough_total{{method="GET",provider="{provider.name}",'
        'route="/models"} 1.0' in metrics
    )

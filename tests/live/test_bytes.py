"""What upstream sends is what the client gets, byte for byte."""

from __future__ import annotations

import hashlib
import json
import socket

import httpx
import pytest

from interceptions.models import Interception
from tests.live.apis import APIS, MESSAGES, Api
from tests.live.gateway import Gateway
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live


@pytest.fixture(params=APIS, ids=lambda api: api.name)
def api(request) -> Api:
    return request.param


@pytest.mark.parametrize("streaming", [False, True], ids=["blocking", "streaming"])
@pytest.mark.parametrize("split", [None, 1, 7, 4096])
def test_answer_has_the_same_sha256_on_both_sides(
    split, streaming, api, gateway: Gateway, upstream: FakeUpstream, served, token
):
    upstream.script("key-a", fixture="simple", split=split)
    provider = served(api.kind)
    answer = api.call(gateway.url, provider.name, token, streaming=streaming)
    assert hashlib.sha256(answer.content).hexdigest() == upstream.last.sha256
    assert answer.content


@pytest.mark.parametrize("seed", range(8))
def test_stream_is_unchanged_at_random_splits(
    seed, api, gateway: Gateway, upstream: FakeUpstream, served, token
):
    upstream.script("key-a", fixture="single_builtin_tool", seed=seed)
    provider = served(api.kind)
    answer = api.call(gateway.url, provider.name, token, streaming=True)
    assert hashlib.sha256(answer.content).hexdigest() == upstream.last.sha256


def test_request_body_goes_upstream_as_it_came(
    api, gateway: Gateway, upstream: FakeUpstream, served, token
):
    provider = served(api.kind)
    body = json.dumps(
        api.request | {"x_unknown": [1.0, 1e5, 10**30, "\ud83d"]}, indent=3
    )
    answer = httpx.post(
        f"{gateway.url}/aibridge/{provider.name}/{api.route}?beta=true&a=%20b",
        content=body.encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip",
            "X-Custom": "kept",
            "X-AI-Bridge-Actor-ID": "forged",
        },
    )
    assert answer.status_code == 200, answer.text
    seen = upstream.last
    assert seen.body == body.encode()
    assert seen.query == "beta=true&a=%20b"
    assert seen.header("x-custom") == "kept"
    assert seen.header("accept-encoding") in {"", "identity"}
    assert not seen.header("x-ai-bridge-actor-id")
    assert token not in str(seen.headers)


def test_chunked_request_body_arrives_whole(
    api, gateway: Gateway, upstream: FakeUpstream, served, token
):
    provider = served(api.kind)
    body = json.dumps(api.request | {"padding": "x" * 300_000}).encode()
    answer = httpx.post(
        f"{gateway.url}/aibridge/{provider.name}/{api.route}",
        content=(body[at : at + 10_000] for at in range(0, len(body), 10_000)),
        headers={"X-Api-Key": token},
    )
    assert answer.status_code == 200, answer.text
    assert upstream.last.body == body


def test_body_of_32_mib_passes_and_more_is_refused(
    gateway: Gateway, upstream: FakeUpstream, served, token
):
    provider = served("anthropic")
    url = f"{gateway.url}/aibridge/{provider.name}/{MESSAGES.route}"
    headers = {"X-Api-Key": token}
    frame = json.dumps(MESSAGES.request | {"padding": ""})
    body = frame[:-2] + "x" * (32 * 1024 * 1024 - len(frame)) + frame[-2:]
    answer = httpx.post(url, content=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert len(upstream.last.body) == 32 * 1024 * 1024

    answer = httpx.post(url, content=body + " ", headers=headers, timeout=60)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "request_too_large"
    assert "32MiB" in answer.text
    assert len(upstream.requests) == 1


def test_upstream_response_headers_are_relayed_by_the_list(
    api, gateway: Gateway, upstream: FakeUpstream, served, token
):
    upstream.script(
        "key-a",
        200,
        {
            "request-id": "req_1",
            "x-ratelimit-remaining-requests": "9",
            "anthropic-organization-id": "org",
            "openai-processing-ms": "12",
            "set-cookie": "a=b",
            "x-internal": "secret",
        },
    )
    provider = served(api.kind)
    headers = api.call(gateway.url, provider.name, token).headers
    assert headers["request-id"] == "req_1"
    assert headers["x-ratelimit-remaining-requests"] == "9"
    assert headers["anthropic-organization-id"] == "org"
    assert headers["openai-processing-ms"] == "12"
    assert "set-cookie" not in headers
    assert "x-internal" not in headers


def test_compressed_answer_is_relayed_decoded(
    api, gateway: Gateway, upstream: FakeUpstream, served, token
):
    upstream.script("key-a", fixture="simple", compress=True)
    provider = served(api.kind)
    answer = api.call(gateway.url, provider.name, token, streaming=True)
    assert "content-encoding" not in answer.headers
    assert hashlib.sha256(answer.content).hexdigest() == upstream.last.sha256


def test_client_that_leaves_closes_upstream_and_is_recorded_as_cancelled(
    api, gateway: Gateway, upstream: FakeUpstream, served, token, wait_ended
):
    upstream.script("key-a", deltas=50, delay=0.2)
    provider = served(api.kind)
    with httpx.stream(
        "POST",
        f"{gateway.url}/aibridge/{provider.name}/{api.route}",
        json=api.body(streaming=True),
        headers={"Authorization": f"Bearer {token}"},
    ) as answer:
        record = answer.headers["x-aibridge-interception-id"]
        next(answer.iter_raw())
    upstream.wait_until(lambda: upstream.last.client_left, seconds=5)
    row = wait_ended(record)
    assert (row.outcome, row.error_type, row.error_message) == ("cancelled", None, None)


def test_client_that_leaves_before_the_answer_closes_upstream_too(
    api, gateway: Gateway, upstream: FakeUpstream, served, token, wait_ended
):
    upstream.script("key-a", hang=True)
    provider = served(api.kind)
    body = json.dumps(api.request).encode()
    with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
        sock.sendall(
            f"POST /aibridge/{provider.name}/{api.route} HTTP/1.1\r\nHost: x\r\n"
            f"X-Api-Key: {token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        upstream.wait_for(1)
    row = wait_ended(
        Interception.objects.filter(provider_name=provider.name).values_list(
            "pk", flat=True
        )[0]
    )
    assert row.outcome == "cancelled"

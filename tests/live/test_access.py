"""Who is let in, and what those who are not are told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from django.utils import timezone

from interceptions.models import Interception
from proxy.actors import digest, issue_token
from proxy.models import GatewayToken
from tests.live.apis import APIS, CHAT, MESSAGES, RESPONSES, Api
from tests.live.gateway import Gateway
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live


def error_of(answer: httpx.Response) -> dict:
    body = answer.json()
    assert answer.headers["content-type"].startswith("application/json")
    return body["error"]


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "no gateway token"),
        ({"Authorization": "Bearer aib_nope"}, "unknown"),
        ({"X-Api-Key": "aib_nope"}, "unknown"),
        ({"X-AIBridge-Token": "aib_nope", "Authorization": "Bearer own"}, "unknown"),
    ],
)
def test_caller_without_a_token_is_refused_in_the_apis_envelope(
    headers, message, api: Api, gateway: Gateway, served
):
    provider = served(api.kind)
    answer = httpx.post(
        f"{gateway.url}/aibridge/{provider.name}/{api.route}",
        json=api.request,
        headers=headers,
    )
    assert answer.status_code == 401
    error = error_of(answer)
    assert message in error["message"]
    assert error["type"] == "authentication_error"
    assert ("type" in answer.json()) == (api is MESSAGES)


def first_refusal(call: Callable[[], httpx.Response]) -> httpx.Response:
    """Call until that is refused: at once as a rule, later on a busy machine."""
    deadline = time.monotonic() + 10
    while (answer := call()).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answer


def test_revoked_token_is_refused_soon(
    gateway: Gateway, upstream: FakeUpstream, served, token
):
    provider = served("anthropic")

    def call() -> httpx.Response:
        return MESSAGES.call(gateway.url, provider.name, token)

    assert call().status_code == 200
    row = GatewayToken.objects.get(digest=digest(token))
    GatewayToken.objects.filter(pk=row.pk).update(revoked_at=datetime.now(UTC))
    answer = first_refusal(call)
    assert answer.status_code == 401
    assert "revoked" in error_of(answer)["message"]
    upstream.forget()
    assert call().status_code == 401
    assert not upstream.requests


def test_deactivated_owner_is_refused_soon(gateway: Gateway, served, make_user):
    owner = make_user()
    token = issue_token(owner, "laptop")[1]
    provider = served("openai")
    assert CHAT.call(gateway.url, provider.name, token).status_code == 200
    owner.is_active = False
    owner.save()
    answer = first_refusal(lambda: CHAT.call(gateway.url, provider.name, token))
    assert answer.status_code == 403
    assert "not active" in error_of(answer)["message"]


def test_expired_token_is_refused_at_its_moment(gateway: Gateway, served, make_user):
    provider = served("openai")
    soon = timezone.now() + timedelta(seconds=3)
    token = issue_token(make_user(), "short", soon)[1]
    assert RESPONSES.call(gateway.url, provider.name, token).status_code == 200
    time.sleep(3.1)
    answer = RESPONSES.call(gateway.url, provider.name, token)
    assert answer.status_code == 401
    assert "expired" in error_of(answer)["message"]


def test_byok_switched_off_for_a_provider_is_403(
    gateway: Gateway, upstream: FakeUpstream, served, token
):
    provider = served("anthropic", allow_byok=False)
    answer = MESSAGES.call(
        gateway.url, provider.name, "own", headers={"X-AIBridge-Token": token}
    )
    assert answer.status_code == 403
    assert not upstream.requests


def test_both_names_of_the_token_header_mean_byok(
    gateway: Gateway, upstream: FakeUpstream, served, token
):
    provider = served("anthropic")
    for name in ("X-AIBridge-Token", "X-Coder-AI-Governance-Token"):
        answer = httpx.post(
            f"{gateway.url}/aibridge/{provider.name}/v1/messages",
            json=MESSAGES.request,
            headers={name: token, "X-Api-Key": "own-key"},
        )
        assert answer.status_code == 200
        assert upstream.last.header("x-api-key") == "own-key"
        assert token not in str(upstream.last.headers)


def test_unknown_provider_disabled_provider_and_unknown_route(
    gateway: Gateway, upstream: FakeUpstream, served, token
):
    answer = MESSAGES.call(gateway.url, "nobody", token)
    assert (answer.status_code, "nobody" in error_of(answer)["message"]) == (404, True)

    provider = served("anthropic")
    answer = httpx.post(
        f"{gateway.url}/aibridge/{provider.name}/v1/complete",
        headers={"X-Api-Key": token},
    )
    assert answer.status_code == 404
    assert answer.json()["type"] == "error"
    assert "route not supported" in error_of(answer)["message"]

    provider.enabled = False
    provider.save()
    answer = first_refusal(lambda: MESSAGES.call(gateway.url, provider.name, token))
    assert answer.status_code == 503
    assert "provider_disabled" in error_of(answer)["message"]
    upstream.forget()
    assert MESSAGES.call(gateway.url, provider.name, token).status_code == 503
    assert not upstream.requests


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
@pytest.mark.parametrize("body", [b"", b"  ", b'{"model":', b"[1]", b"\xff\xfe"])
def test_bad_body_is_400_and_not_recorded(
    body, api: Api, gateway: Gateway, upstream: FakeUpstream, served, token
):
    provider = served(api.kind)
    answer = httpx.post(
        f"{gateway.url}/aibridge/{provider.name}/{api.route}",
        content=body,
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 400
    assert error_of(answer)["type"] == "invalid_request_error"
    assert not upstream.requests
    assert not Interception.objects.filter(provider_name=provider.name).exists()


def test_websocket_upgrade_is_501(gateway: Gateway, served, token):
    provider = served("openai")
    answer = httpx.get(
        f"{gateway.url}/aibridge/{provider.name}/v1/responses",
        headers={
            "Authorization": f"Bearer {token}",
            "Connection": "keep-alive, Upgrade",
            "Upgrade": "websocket",
        },
    )
    assert answer.status_code == 501
    assert "WebSocket" in error_of(answer)["message"]


@pytest.mark.parametrize("streaming", [False, True])
def test_background_response_is_501_and_recorded_as_failed(
    streaming, gateway: Gateway, upstream: FakeUpstream, served, token
):
    provider = served("openai")
    answer = RESPONSES.call(
        gateway.url, provider.name, token, streaming=streaming, background=True
    )
    assert answer.status_code == 501
    assert "background requests" in error_of(answer)["message"]
    assert not upstream.requests
    row = Interception.objects.get(pk=answer.headers["x-aibridge-interception-id"])
    assert row.outcome == "failed"


def test_underscored_session_header_reaches_the_record(gateway, served, token):
    provider = served("openai")
    answer = RESPONSES.call(
        gateway.url,
        provider.name,
        token,
        headers={"User-Agent": "codex_cli_rs/0.87.0", "session_id": "codex-123"},
    )
    row = Interception.objects.get(pk=answer.headers["x-aibridge-interception-id"])
    assert (row.client, row.client_session_id) == ("Codex", "codex-123")


def test_claude_code_of_today_is_recognised(gateway: Gateway, served, token):
    provider = served("anthropic")
    user_id = json.dumps({"device_id": "d", "session_id": "from-body"})
    answer = MESSAGES.call(
        gateway.url,
        provider.name,
        token,
        headers={"User-Agent": "claude-cli/2.1.0 (external, cli)"},
        metadata={"user_id": user_id},
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "fix the test"},
                    {
                        "type": "text",
                        "text": "<system-reminder>be kind</system-reminder>",
                    },
                ],
            },
            {"role": "system", "content": "trailing"},
        ],
    )
    row = Interception.objects.get(pk=answer.headers["x-aibridge-interception-id"])
    assert (row.client, row.client_session_id) == ("Claude Code", "from-body")
    assert row.prompts.get().prompt == "fix the test"


@pytest.mark.parametrize("own", [False, True], ids=["pool", "byok"])
def test_key_repeated_by_upstream_is_masked_in_the_record(
    own, gateway: Gateway, upstream: FakeUpstream, served, token
):
    secret = "sk-canary-0123456789abcdef"
    body = {"error": {"message": f"Bad key {secret}", "type": "invalid_request_error"}}
    upstream.script(secret, 400, json=body)
    provider = served("openai", (secret,))
    headers = {"X-AIBridge-Token": token} if own else {}
    answer = CHAT.call(
        gateway.url, provider.name, secret if own else token, headers=headers
    )
    assert answer.status_code == 400
    row = Interception.objects.get(pk=answer.headers["x-aibridge-interception-id"])
    assert "Bad key sk-c...cdef" in row.error_message
    assert secret not in gateway.output()

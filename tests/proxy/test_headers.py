"""Reference table 30.14 and decision D4: which headers cross the gateway."""

from __future__ import annotations

import pytest

from proxy.headers import (
    actor_headers,
    bearer_token,
    relayed_response_headers,
    upstream_headers,
)

IDENTITY = ("Accept-Encoding", "identity")
KEY = ("Authorization", "Bearer sk-provider-key")


def sent(*pairs: tuple[str, str], auth=None, actor=None) -> list[tuple[str, str]]:
    found = upstream_headers(list(pairs), auth=auth, actor=actor)
    assert found.count(IDENTITY) == 1
    return [pair for pair in found if pair != IDENTITY]


def test_no_headers_stay_none():
    assert sent() == []


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Host",
        "Accept-Encoding",
        "Content-Length",
        "Expect",
        "Authorization",
        "X-Api-Key",
        "Api-Key",
        "X-Goog-Api-Key",
        "Cookie",
        "X-AIBridge-Token",
        "X-Coder-AI-Governance-Token",
        "X-Coder-AI-Governance-Request-Id",
        "X-AI-Bridge-Actor-ID",
        "X-AI-Bridge-Actor-Metadata-Username",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Real-IP",
        "Forwarded",
        "X-Coder-Agent-Firewall-Session-Id",
        "X-Coder-Agent-Firewall-Sequence-Number",
        "Anthropic-Workspace-Id",
    ],
)
def test_header_never_reaches_upstream(name):
    kept = ("X-Custom", "v")
    for spelled in (name, name.lower(), name.upper()):
        assert sent((spelled, "secret"), kept) == [kept]


@pytest.mark.parametrize(
    "pair",
    [
        ("User-Agent", "claude-cli/2.1"),
        ("anthropic-version", "2023-06-01"),
        ("Anthropic-Beta", "interleaved-thinking-2025-05-14"),
        ("Content-Type", "application/json"),
        ("Editor-Version", "vscode/1.122"),
        ("Copilot-Integration-Id", "vscode-chat"),
        ("OpenAI-Organization", "org-1"),
        ("X-Stainless-Lang", "python"),
        ("session_id", "s"),
    ],
)
def test_header_of_the_client_is_kept(pair):
    assert sent(pair) == [pair]


def test_headers_that_connection_names_are_for_one_hop():
    pairs = [("Connection", "close, X-Hop"), ("X-Hop", "1"), ("X-Custom", "2")]
    assert sent(*pairs) == [("X-Custom", "2")]


def test_repeated_headers_keep_all_their_values():
    pairs = [("Anthropic-Beta", "a"), ("anthropic-beta", "b,c")]
    assert sent(*pairs) == pairs


def test_credential_replaces_those_of_the_client():
    pairs = [("Authorization", "Bearer gateway"), ("X-Api-Key", "user"), ("A", "1")]
    assert sent(*pairs, auth=KEY) == [("A", "1"), KEY]


def test_credential_in_a_header_of_its_own_is_sent_once():
    auth = ("X-Custom-Auth", "new")
    assert sent(("x-custom-auth", "old"), auth=auth) == [auth]


def test_no_credential_means_no_auth_header():
    assert sent(("Authorization", "Bearer gateway")) == []


def test_inputs_are_not_changed():
    pairs = [("Connection", "close"), ("A", "1")]
    actor = {"id": "7", "metadata": {"Username": "bob"}}
    upstream_headers(pairs, auth=KEY, actor=actor)
    relayed_response_headers(pairs)
    assert pairs == [("Connection", "close"), ("A", "1")]
    assert actor == {"id": "7", "metadata": {"Username": "bob"}}


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        pytest.param(None, [], id="no actor"),
        pytest.param({"id": "u1"}, [("X-AI-Bridge-Actor-ID", "u1")], id="id only"),
        pytest.param(
            {"id": 7, "metadata": {"Username": "bob", "Team": "red"}},
            [
                ("X-AI-Bridge-Actor-ID", "7"),
                ("X-AI-Bridge-Actor-Metadata-Username", "bob"),
                ("X-AI-Bridge-Actor-Metadata-Team", "red"),
            ],
            id="id and two metadata",
        ),
        pytest.param({"id": "u1", "metadata": None}, [("X-AI-Bridge-Actor-ID", "u1")]),
    ],
)
def test_actor_headers(actor, expected):
    assert actor_headers(actor) == expected


def test_actor_of_the_gateway_overrides_the_clients():
    forged = ("x-ai-bridge-actor-id", "admin")
    assert sent(forged, actor={"id": "u1"}) == [("X-AI-Bridge-Actor-ID", "u1")]


def test_actor_cannot_smuggle_a_header():
    actor = {"id": "u1\r\nX-Evil: 1", "metadata": {"a b\r\n:": "Zoë \ud800"}}
    (_, first), (name, second) = actor_headers(actor)
    assert first == "u1%0D%0AX-Evil: 1"
    assert name == "X-AI-Bridge-Actor-Metadata-a-b---"
    assert second.startswith("Zo%C3%AB ")
    assert second.isascii()


def test_upstream_is_asked_for_identity():
    found = upstream_headers([("accept-encoding", "gzip, br")], auth=None)
    assert found == [IDENTITY]


@pytest.mark.parametrize(
    ("name", "relayed"),
    [
        ("Content-Type", True),
        ("request-id", True),
        ("X-Request-Id", True),
        ("Retry-After", True),
        ("retry-after-ms", True),
        ("anthropic-ratelimit-requests-remaining", True),
        ("anthropic-organization-id", True),
        ("openai-processing-ms", True),
        ("openai-version", True),
        ("x-ratelimit-limit-requests", True),
        ("Set-Cookie", False),
        ("Content-Length", False),
        ("Content-Encoding", False),
        ("Transfer-Encoding", False),
        ("Connection", False),
        ("Server", False),
        ("Strict-Transport-Security", False),
        ("x-should-retry", False),
        ("cf-ray", False),
        ("Location", False),
        ("WWW-Authenticate", False),
    ],
)
def test_response_headers(name, relayed):
    pair = (name, "value")
    assert relayed_response_headers([pair, pair]) == ([pair, pair] if relayed else [])


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (None, ""),
        ("", ""),
        (" ", ""),
        ("some-token", ""),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Bearer token extra", ""),
        ("Basic dXNlcg==", ""),
        ("Bearer my-secret-token", "my-secret-token"),
        ("BeArEr my-secret-token", "my-secret-token"),
        ("  Bearer   my-secret-token  ", "my-secret-token"),
    ],
)
def test_bearer_token(value, token):
    assert bearer_token(value) == token

"""What is forwarded untouched, and what never is (reference table 30.18)."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from providers.kinds import KINDS, Kind
from providers.provider import Provider
from proxy import errors
from proxy.actors import Actor
from proxy.call import Call
from proxy.outgoing import upstream_url
from proxy.passthrough import (
    BadPath,
    InvalidBaseUrl,
    allowed,
    check_base_url,
    forward,
    has_traversal,
    relayed_headers,
    request_headers,
    resolve_credential,
    upstream_path,
)
from proxy.watch import ClientWatch

OPENAI = KINDS[Kind.OPENAI]
ANTHROPIC = KINDS[Kind.ANTHROPIC]
COPILOT = KINDS[Kind.COPILOT]


def call(headers: dict[str, str] | None = None, **fields) -> Call:
    lower = {name.lower(): value for name, value in (headers or {}).items()}
    route = fields.pop("route", "v1/models")
    return Call(
        method=fields.pop("method", "GET"),
        route=route,
        raw_route=fields.pop("raw_route", route),
        query="",
        headers=list(lower.items()),
        lower=lower,
        body=b"",
        actor=Actor(1, "bob", uuid4()),
        byok=fields.pop("byok", False),
        watch=ClientWatch(None),
        **fields,
    )


def provider(kind: str, **fields) -> Provider:
    return Provider(uuid4(), "p", kind, KINDS[kind], **fields)


# Routes


@pytest.mark.parametrize(
    ("kind", "route"),
    [
        (ANTHROPIC, "v1/models"),
        (ANTHROPIC, "v1/models/claude-opus-4-5"),
        (ANTHROPIC, "v1/messages/count_tokens"),
        (ANTHROPIC, "api/event_logging/batch"),
        (OPENAI, "v1/models"),
        (OPENAI, "v1/models/gpt-4.1"),
        (OPENAI, "v1/conversations"),
        (OPENAI, "v1/conversations/conv_1/items"),
        (OPENAI, "v1/responses/resp_1"),
        (OPENAI, "v1/responses/resp_1/cancel"),
        (COPILOT, "models"),
        (COPILOT, "models/session"),
        (COPILOT, "agents/x"),
        (COPILOT, "mcp/readonly"),
        (COPILOT, ".well-known/oauth"),
        (KINDS[Kind.AZURE], "v1/models"),
        (KINDS[Kind.GOOGLE], "v1/models"),
        (KINDS[Kind.OPENROUTER], "v1/models"),
        (KINDS[Kind.OPENAI_COMPAT], "v1/models"),
    ],
)
def test_listed_routes_are_allowed(kind, route: str):
    assert allowed(kind, route) is not None


@pytest.mark.parametrize(
    ("kind", "route"),
    [
        (ANTHROPIC, ""),
        (ANTHROPIC, "v1/complete"),
        (ANTHROPIC, "v1/organizations/keys"),
        (ANTHROPIC, "v1/modelsx"),
        (ANTHROPIC, "v1/files"),
        (OPENAI, "models"),
        (OPENAI, "v1/completions"),
        (OPENAI, "v1/organization/admin_api_keys"),
        (OPENAI, "v1/files"),
        (COPILOT, "v1/models"),
        (COPILOT, "agents"),
        (KINDS[Kind.BEDROCK], "v1/models"),
    ],
)
def test_other_routes_are_not(kind, route: str):
    assert allowed(kind, route) is None


@pytest.mark.parametrize("route", ["v1/responses/", "v1/responses//", "v1//responses"])
def test_a_bridged_route_in_disguise_is_not_forwarded(route: str):
    assert allowed(OPENAI, route) is None


@pytest.mark.parametrize(
    "path",
    [
        "v1/models/../messages",
        "v1/models/..%2Fmessages",
        "v1/models/%2e%2e/messages",
        "v1/models/%252e%252e/messages",
        "v1/models/%25252e%25252e%25252fmessages",
        "v1/models/..%5cmessages",
        "v1/models/..\\messages",
        "v1/models/.%2e/messages",
        "v1/models/..;x/messages",
        "v1/models/./x",
        "v1/models/%00",
        "v1/models/%0d%0aX-Evil:%201",
        "v1/models/%" + "25" * 20 + "2e%2e",
    ],
)
def test_traversal_is_found_after_any_number_of_decodings(path: str):
    assert has_traversal(path)


@pytest.mark.parametrize(
    "path",
    [
        "v1/models/org%2Fmodel",
        "v1/models/a..b",
        "v1/models/...",
        "v1/models/100%25",
        "v1/models/a%3Ab%20c",
        "v1/models/ü",
        "",
    ],
)
def test_harmless_paths_pass(path: str):
    assert not has_traversal(path)


def test_traversal_is_refused_before_anything_is_sent():
    asked = call(route="v1/models/x", raw_route="v1/models/%2e%2e/x")
    with pytest.raises(BadPath, match="invalid request path") as caught:
        forward(asked, provider(Kind.OPENAI))
    assert caught.value.status == 400


def test_unlisted_route_names_method_and_path():
    with pytest.raises(errors.RouteUnknown, match="route not supported: PUT /v1/files"):
        forward(call(method="PUT", route="v1/files"), provider(Kind.OPENAI))


# Where to


@pytest.mark.parametrize(
    ("kind", "base", "route", "path"),
    [
        (OPENAI, "https://h", "v1/conversations", "/conversations"),
        (OPENAI, "https://h/v1", "v1/conversations", "/v1/conversations"),
        (ANTHROPIC, "https://h", "v1/models", "/v1/models"),
        (ANTHROPIC, "https://h/", "v1/models", "/v1/models"),
        (ANTHROPIC, "https://h/v1", "v1/models", "/v1/v1/models"),
        (ANTHROPIC, "https://h/api/v2", "v1/models", "/api/v2/v1/models"),
        (COPILOT, "https://h", "models", "/models"),
        (COPILOT, "https://h/v1", "models", "/v1/models"),
        (OPENAI, "https://h/v1", "v1/models/org%2Fm", "/v1/models/org%2Fm"),
        (OPENAI, "https://h/v1", "%761/models", "/v1/models"),
    ],
)
def test_path_follows_the_base_url(kind, base: str, route: str, path: str):
    from urllib.parse import unquote

    url = upstream_url(base, upstream_path(kind, unquote(route), route), "")
    assert url.raw_path.decode() == path


def test_query_is_kept():
    url = upstream_url("https://h/base", "/chat", "search=gpt&limit=10&x=%2F")
    assert url.raw_path == b"/base/chat?search=gpt&limit=10&x=%2F"


@pytest.mark.parametrize("base", ["https://h/%zz", "https://h/%25"])
def test_base_url_that_cannot_be_joined(base: str):
    with pytest.raises(InvalidBaseUrl, match="invalid provider base URL") as caught:
        check_base_url(base)
    assert caught.value.status == 502


# Headers of the request


def sent(headers: dict[str, str] | None = None, **fields) -> dict[str, str]:
    fields.setdefault("peer", "1.1.1.1")
    pairs = request_headers(call(headers, **fields))
    return {name.lower(): value for name, value in pairs}


def test_chain_of_peers_is_appended():
    told = sent({"Host": "client.example.com", "X-Forwarded-For": "2.2.2.2, 3.3.3.3"})
    assert told["x-forwarded-for"] == "2.2.2.2, 3.3.3.3, 1.1.1.1"
    assert told["x-forwarded-host"] == "client.example.com"
    assert told["x-forwarded-proto"] == "http"
    assert told["user-agent"] == "aibridge"
    assert "host" not in told


def test_client_headers_pass():
    told = sent({"User-Agent": "custom-agent/1.0", "Anthropic-Beta": "a,b"})
    assert told["user-agent"] == "custom-agent/1.0"
    assert told["anthropic-beta"] == "a,b"


def test_tls_is_told():
    assert sent(scheme="https")["x-forwarded-proto"] == "https"


def test_unreadable_peer_leaves_no_chain():
    told = sent({"X-Forwarded-For": "2.2.2.2"}, peer="unix:")
    assert "x-forwarded-for" not in told


def test_what_is_for_one_hop_or_the_gateway_stays_behind():
    told = sent(
        {
            "Connection": "keep-alive, X-Hop",
            "X-Hop": "1",
            "TE": "trailers",
            "Upgrade": "h2c",
            "Cookie": "sessionid=secret",
            "Authorization": "Bearer aib_token",
            "X-Api-Key": "aib_token",
            "X-AIBridge-Token": "aib_token",
            "X-AI-Bridge-Actor-ID": "root",
            "X-Coder-AI-Governance-Request-Id": "r",
        }
    )
    assert set(told) == {
        "accept-encoding",
        "user-agent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    }
    assert told["accept-encoding"] == "identity"


# Credentials (table 30.14, InjectAuthHeader)


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        (Kind.ANTHROPIC, {"X-Api-Key": "user-key"}),
        (Kind.ANTHROPIC, {"Authorization": "Bearer user-token"}),
        (
            Kind.ANTHROPIC,
            {"X-Api-Key": "user-key", "Authorization": "Bearer user-token"},
        ),
        (Kind.OPENAI, {"Authorization": "Bearer user-token"}),
        (Kind.COPILOT, {"Authorization": "Bearer user-token"}),
    ],
)
def test_own_credentials_are_left_as_they_came(kind: str, headers: dict[str, str]):
    credential = resolve_credential(call(headers, byok=True), provider(kind))
    (key,) = credential.walk()
    assert dict(credential.headers(key, "GET", "", b"")) == headers


# Headers of the answer


def test_headers_that_speak_about_the_answer_are_relayed():
    received = httpx.Headers(
        [
            ("Content-Type", "application/json"),
            ("Content-Length", "12"),
            ("ETag", "x"),
            ("Mcp-Session-Id", "s"),
            ("Retry-After", "5"),
            ("Set-Cookie", "a=b"),
            ("Connection", "close"),
            ("Transfer-Encoding", "chunked"),
            ("Alt-Svc", "h3"),
            ("Strict-Transport-Security", "max-age=1"),
        ]
    )
    assert dict(relayed_headers(received)) == {
        "content-type": "application/json",
        "content-length": "12",
        "etag": "x",
        "mcp-session-id": "s",
        "retry-after": "5",
    }


def test_length_of_a_decoded_body_is_not_relayed():
    received = httpx.Headers({"Content-Encoding": "gzip", "Content-Length": "12"})
    assert relayed_headers(received) == []

"""Asking a real socket whether it accepts a key."""

from __future__ import annotations

import pytest

from providers.models import AiProvider
from providers.trial import try_key

KEY = "sk-ant-api03-aaaaaaaa"


def provider(upstream, kind: str = "anthropic", path: str = "") -> AiProvider:
    return AiProvider(name="main", kind=kind, base_url=upstream.url + path)


def header(request, name: str) -> str | None:
    found = [value for key, value in request.headers if key.lower() == name]
    assert len(found) <= 1
    return found[0] if found else None


def test_key_that_is_accepted_works(upstream):
    test = try_key(provider(upstream), KEY)
    assert (test.ok, test.status, test.message) == (True, 200, "The key works.")
    assert test.ms >= 0


@pytest.mark.parametrize(
    ("kind", "base", "target", "name", "value"),
    [
        ("anthropic", "", "/v1/models", "x-api-key", KEY),
        ("openai", "/v1", "/v1/models", "authorization", f"Bearer {KEY}"),
        ("azure", "/openai/v1", "/openai/v1/models", "api-key", KEY),
        ("openrouter", "/api/v1", "/api/v1/key", "authorization", f"Bearer {KEY}"),
    ],
)
def test_each_kind_is_asked_in_its_own_way(upstream, kind, base, target, name, value):
    try_key(provider(upstream, kind, base), KEY)
    (request,) = upstream.requests
    assert (request.method, request.target) == ("GET", target)
    assert header(request, name) == value
    assert header(request, "host") == f"127.0.0.1:{upstream.port}"


def test_anthropic_is_told_the_version_it_insists_on(upstream):
    try_key(provider(upstream), KEY)
    assert header(upstream.requests[0], "anthropic-version") == "2023-06-01"


@pytest.mark.parametrize("status", [401, 403])
def test_refusal_is_told_in_upstreams_words(upstream, status):
    body = b'{"error": {"type": "authentication_error", "message": "invalid key"}}'
    upstream.script(KEY, status, body=body)
    test = try_key(provider(upstream), KEY)
    assert (test.ok, test.status) == (False, status)
    assert test.message == (
        f"Upstream refused the key ({status}). It said: invalid key"
    )


def test_upstream_that_echoes_the_key_does_not_spread_it(upstream):
    body = b'{"error": {"message": "Incorrect API key: ' + KEY.encode() + b'"}}'
    upstream.script(KEY, 401, body=body)
    test = try_key(provider(upstream), KEY)
    assert KEY not in test.message
    assert "sk-a...aaaa" in test.message


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[1]", b'"text"', b"\xff"])
def test_error_body_of_any_shape_is_survived(upstream, body):
    upstream.script(KEY, 500, body=body)
    assert try_key(provider(upstream), KEY).message.startswith("Upstream answered 500.")


def test_redirect_is_not_followed(upstream):
    upstream.script(KEY, 302, {"location": upstream.url + "/elsewhere"}, body=b"")
    test = try_key(provider(upstream), KEY)
    assert (test.ok, test.status) == (False, 302)
    assert len(upstream.requests) == 1


def test_upstream_that_is_down_is_no_status(upstream):
    upstream.refuse()
    test = try_key(provider(upstream), KEY)
    assert (test.ok, test.status) == (False, None)
    assert test.message.startswith("Upstream did not answer:")


def test_unknown_host_is_no_status():
    row = AiProvider(name="main", kind="openai", base_url="http://no-such.invalid/v1")
    assert try_key(row, KEY).status is None


def test_metadata_address_never_gets_a_key():
    row = AiProvider(name="main", kind="openai", base_url="http://169.254.169.254/v1")
    test = try_key(row, KEY)
    assert (test.ok, test.status) == (False, None)
    assert "metadata" in test.message


def test_name_that_leads_to_a_forbidden_address_never_gets_a_key(upstream, settings):
    settings.AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS = False
    settings.AIBRIDGE_ALLOW_LOOPBACK_UPSTREAMS = False
    row = AiProvider(
        name="main",
        kind="openai",
        base_url=f"http://localhost.localdomain:{upstream.port}/v1",
    )
    assert not try_key(row, KEY).ok
    assert upstream.requests == []


def test_kind_without_a_pool_has_nothing_to_test(upstream):
    test = try_key(provider(upstream, "copilot"), KEY)
    assert (test.ok, test.status) == (False, None)

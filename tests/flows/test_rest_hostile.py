"""Input that no client means: the API answers 4xx, in its own words, never 5xx."""

from __future__ import annotations

import json
import uuid

import pytest
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.actors import issue_token
from tests.flows.doors import API, doors

pytestmark = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="PostgreSQL refuses more, and once is enough"
)

POSTED = ("providers/", "tokens/", "providers/main/keys/")
DEEP = "[" * 100_000 + "]" * 100_000
TEXTS = [
    b"", b"{", b"null", b"[]", b'"x"', b"5", b"\xff\xfe", b"\x00", b"{}x",
    b'{"name": NaN}', b'{"name": 1e999}', b'{"name": "\\ud800"}',
    b'{"name": "a\\u0000b"}', b'{"name": ' + b"9" * 5000 + b"}",
    b'{"a": ' + DEEP.encode() + b"}", b'{"name": ["x"]}', b'{"name": {"x": 1}}',
    b'{"api_keys": {"0": "x"}}', b'{"settings": [[]]}', b'{"name": true}',
    b'{"kind": ["openai"], "name": "x", "base_url": "https://x"}',
    b'{"expires_at": "0000-00-00T00:00:00Z", "name": "x"}',
    b'{"expires_at": 1e308, "name": "x"}', b'{"owner": {}, "name": "x"}',
]  # fmt: skip
QUERIES = [
    "%00", "%FF", "%ED%A0%80", "9" * 400, "-1", "0", "1e9", "NaN", "null", "true",
    "[]", "{}", "'", '"', "\\", ";", "--", "*", "%25", "_", "../..", "\u202e", "🦀",
    "x" * 5000, str(uuid.UUID(int=0)), "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:60-23:59", "2026-02-30T00:00:00Z",
]  # fmt: skip


@pytest.fixture
def send(admin):
    client = Client(raise_request_exception=False)
    headers = {"Authorization": f"Bearer {issue_token(admin, 't')[1]}"}

    def send(method, path, body=b"", content_type="application/json"):
        answer = client.generic(
            method, path, body, content_type=content_type, headers=headers
        )
        assert answer.status_code < 500, (method, path, body[:80], answer.content)
        if answer.status_code >= 400:
            told = json.loads(answer.content)
            assert set(told) <= {"message", "detail", "validations"}, told
            assert told["message"]
        return answer

    return send


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize("body", TEXTS, ids=lambda body: repr(body[:30]))
def test_body_that_no_client_means_is_refused(send, path, body):
    send("POST", API + "providers/", json.dumps(_PROVIDER).encode())
    assert send("POST", API + path, body).status_code == 400


_PROVIDER = {"kind": "openai", "name": "main", "base_url": "https://api.openai.com/v1"}


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data", "x", ""])
def test_body_of_another_kind_is_refused(send, content_type):
    answer = send("POST", API + "tokens/", b"name=x", content_type)
    assert answer.status_code in {400, 415}


def test_body_that_is_too_large_is_refused(send):
    body = b'{"name": "' + b"x" * (2 * 1024 * 1024) + b'"}'
    assert send("POST", API + "tokens/", body).status_code == 413


@pytest.mark.parametrize("value", QUERIES, ids=lambda value: value[:20])
def test_query_that_no_client_means_is_answered(send, value):
    names = {
        "interceptions/": ("q", "limit", "after_id", "initiator", "provider_id",
                           "thread_id", "started_after", "started_before", "prompt",
                           "model", "session_id", "outcome"),
        "sessions/": ("q", "cursor", "failed", "active_after", "prompt", "model"),
        "models/": ("q", "offset", "limit"),
        "tokens/": ("owner", "after_id"),
        "providers/": ("deleted",),
        "exports/interceptions.csv": ("q", "prompt"),
    }  # fmt: skip
    for path, each in names.items():
        for name in each:
            send("GET", f"{API}{path}?{name}={value}")
        send("GET", f"{API}{path}?{value}=1")


@pytest.mark.parametrize("value", [*QUERIES, "a/b", "."], ids=lambda value: value[:20])
def test_path_that_no_client_means_is_answered(send, value):
    for path in (
        "interceptions/{}", "sessions/{}/", "providers/{}/", "providers/{}/keys/",
        "providers/main/keys/{}/", "providers/{}/restore/", "tokens/{}", "{}",
    ):  # fmt: skip
        for method in ("GET", "DELETE", "POST", "PATCH"):
            send(method, API + path.format(value), b"{}")


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "PROPFIND"])
def test_method_that_a_path_does_not_have_is_405(send, method):
    for door in doors():
        if not door.pattern.startswith(API) or "<" in door.pattern:
            continue
        if method in door.methods or "docs" in door.pattern or door.pattern == API:
            continue
        assert send(method, door.pattern).status_code == 405, door


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4))
def test_any_query_of_any_list_is_answered(live_api, query):
    for path in ("interceptions/", "sessions/", "models/", "tokens/"):
        answer = live_api(path, query)
        assert answer.status_code in {200, 400}


@pytest.fixture
def live_api(admin):
    client = Client(raise_request_exception=False)
    headers = {"Authorization": f"Bearer {issue_token(admin, 't')[1]}"}

    def get(path, query):
        # A query holds no lone surrogate: a client could not write it.
        sent = {
            name.encode(errors="replace"): value.encode(errors="replace")
            for name, value in query.items()
        }
        return client.get(API + path, sent, headers=headers)

    return get

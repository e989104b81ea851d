"""Errors of the gateway's own, in each API's words."""

from __future__ import annotations

import json

import pytest

from proxy import dialects

from .scenarios import DIALECTS

STATUSES = (400, 401, 403, 404, 413, 418, 429, 500, 501, 502, 503, 504, 529)


def body(dialect: str, status: int, **options: str) -> object:
    shape = dialects.get(dialect)
    return json.loads(shape.error_body(status, "went wrong", **options))


@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (418, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (501, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropic_envelope(status, error_type):
    error = {"type": error_type, "message": "went wrong"}
    assert body("anthropic_messages", status) == {"type": "error", "error": error}


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses"])
@pytest.mark.parametrize(
    ("status", "error_type", "code"),
    [
        (400, "invalid_request_error", None),
        (401, "authentication_error", "invalid_api_key"),
        (403, "permission_error", "permission_denied"),
        (404, "invalid_request_error", "not_found"),
        (413, "invalid_request_error", "request_too_large"),
        (418, "invalid_request_error", None),
        (429, "rate_limit_error", "rate_limit_exceeded"),
        (500, "server_error", "server_error"),
        (501, "server_error", "server_error"),
        (502, "api_error", "server_error"),
        (503, "server_error", "service_unavailable"),
        (529, "server_error", "service_unavailable"),
    ],
)
def test_openai_envelope(dialect, status, error_type, code):
    assert body(dialect, status) == {
        "error": {
            "message": "went wrong",
            "type": error_type,
            "param": None,
            "code": code,
        }
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_error_type_can_be_given(dialect):
    assert body(dialect, 502, error_type="my_error")["error"]["type"] == "my_error"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", STATUSES)
def test_body_is_read_back_by_any_dialect(dialect, status):
    raw = dialects.get(dialect).error_body(status, 'a "quoted"\nline €')
    for reader in DIALECTS:
        kind, _, message = dialects.get(reader).read_error(raw)
        assert kind
        assert message == 'a "quoted"\nline €'


@pytest.mark.parametrize("dialect", DIALECTS)
def test_event_is_one_line_of_data_whatever_the_message(dialect):
    event = dialects.get(dialect).error_event(502, "a\r\n\r\nb\u2028c\ud800")
    assert event.endswith(b"\n\n")
    assert b"\r" not in event
    first = event.split(b"\n\n")[0].split(b"\n")
    assert [line.split(b":")[0] for line in first][-1] == b"data"


def test_shapes_of_the_events():
    anthropic, chat, responses = (
        dialects.get(name).error_event(429, "slow down") for name in DIALECTS
    )
    assert anthropic == (
        b'event: error\ndata: {"type":"error","error":'
        b'{"type":"rate_limit_error","message":"slow down"}}\n\n'
    )
    error = (
        b'{"message":"slow down","type":"rate_limit_error",'
        b'"param":null,"code":"rate_limit_exceeded"}'
    )
    assert chat == b'data: {"error":' + error + b"}\n\ndata: [DONE]\n\n"
    assert responses == (
        b'event: error\ndata: {"type":"error","sequence_number":0,'
        b'"code":"rate_limit_exceeded","message":"slow down","param":null,"error":'
        + error
        + b"}\n\n"
    )

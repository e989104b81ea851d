"""Error bodies of many providers, and the class of failure each stands for."""

from __future__ import annotations

import json

import pytest

from proxy import dialects
from proxy.dialects.faults import ERROR_TYPES, error_type_of, read_error

from .scenarios import DIALECTS, load

SHAPES = {
    "openai": (
        {
            "error": {
                "message": "Incorrect API key provided: sk-bad.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
        },
        (
            "invalid_request_error",
            "invalid_api_key",
            "Incorrect API key provided: sk-bad.",
        ),
    ),
    "anthropic": (
        {
            "type": "error",
            "error": {"type": "overloaded_error", "message": "Overloaded"},
            "request_id": "req_1",
        },
        ("overloaded_error", "", "Overloaded"),
    ),
    "google": (
        {
            "error": {
                "code": 400,
                "message": "API key not valid.",
                "status": "INVALID_ARGUMENT",
                "details": [{"@type": "x", "reason": "API_KEY_INVALID"}],
            }
        },
        ("INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid."),
    ),
    "google without a reason": (
        {"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}},
        ("UNAVAILABLE", "503", "Busy."),
    ),
    "google in a list": (
        [{"error": {"code": 429, "message": "Slow.", "status": "RESOURCE_EXHAUSTED"}}],
        ("RESOURCE_EXHAUSTED", "429", "Slow."),
    ),
    "bedrock": (
        {"__type": "com.amazon.coral#ThrottlingException", "message": "Too many."},
        ("ThrottlingException", "", "Too many."),
    ),
    "bedrock with a capital": ({"Message": "Forbidden."}, ("", "", "Forbidden.")),
    "gateway": ({"code": "501", "message": "no"}, ("", "501", "no")),
    "text in error": ({"error": "Not Found"}, ("", "", "Not Found")),
    "detail": ({"detail": "Unauthorized"}, ("", "", "Unauthorized")),
    "responses event": (
        {"type": "error", "code": "server_error", "message": "m", "param": None},
        ("", "server_error", "m"),
    ),
    "failed response": (
        {
            "type": "response.failed",
            "response": {"error": {"code": "server_error", "message": "m"}},
        },
        ("", "server_error", "m"),
    ),
    "openrouter": (
        {"error": {"message": "Provider returned error", "code": 502}},
        ("", "502", "Provider returned error"),
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_dialect_reads_every_shape(dialect, shape):
    body, expected = SHAPES[shape]
    assert dialects.get(dialect).read_error(json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "", id="empty"),
        pytest.param(b"plain text error\n", "plain text error", id="plain text"),
        pytest.param(b"<html>Bad gateway", "<html>Bad gateway", id="html"),
        pytest.param(b"caf\xc3\xa9 \xff", "café", id="no UTF-8"),
        pytest.param(b"[]", "[]", id="empty list"),
        pytest.param(b"{}", "{}", id="empty object"),
        pytest.param(b'{"error":{}}', '{"error":{}}', id="empty error"),
        pytest.param(b'{"error":[1]}', '{"error":[1]}', id="error is a list"),
        pytest.param(b"12", "12", id="number"),
    ],
)
def test_message_falls_back_to_the_text(body, message):
    assert read_error(body) == ("", "", message)


@pytest.mark.parametrize(
    ("dialect", "kind", "code", "message"),
    [
        (
            "anthropic_messages",
            "invalid_request_error",
            "",
            "prompt is too long: 205429 tokens > 200000 maximum",
        ),
        (
            "openai_chat",
            "invalid_request_error",
            "context_length_exceeded",
            "Input tokens exceed the configured limit of 272000 tokens. "
            "Your messages resulted in 3148588 tokens.",
        ),
        (
            "openai_responses",
            "invalid_request_error",
            "model_not_found",
            "Invalid value: 'bogus'.",
        ),
    ],
)
def test_error_of_a_real_provider_is_read(dialect, kind, code, message):
    body = load(dialect, "non_stream_error", "response.json")
    assert dialects.get(dialect).read_error(body) == (kind, code, message)


def test_long_text_is_cut():
    assert len(read_error(b"x" * 100_000)[2]) == 4096


def test_text_cut_inside_a_character_stays_valid():
    message = read_error("€".encode() * 5000)[2]
    assert message == "€" * (4096 // 3)


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        ("invalid_request_error", "invalid_api_key", "unauthorized"),
        ("INVALID_ARGUMENT", "API_KEY_INVALID", "unauthorized"),
        ("RESOURCE_EXHAUSTED", "429", "rate_limited"),
        ("UNAVAILABLE", "503", "overloaded"),
        ("ThrottlingException", "", "rate_limited"),
        ("tokens", "rate_limit_exceeded", "rate_limited"),
        ("invalid_request_error", "some_new_code", "bad_request"),
        ("", "529", "overloaded"),
        ("", "418", "unknown"),
        ("", "", "unknown"),
    ],
)
def test_code_is_looked_at_before_the_type(kind, code, expected):
    assert error_type_of(kind, code) == expected


def test_classes_are_those_that_are_stored():
    from interceptions.choices import ErrorType

    assert set(ERROR_TYPES.values()) <= set(ErrorType.values)

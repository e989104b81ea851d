"""What a failure is called in the record, row by row."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from interceptions.choices import ErrorType
from interceptions.errors import (
    classify_status,
    stored_message,
    truncate_message,
    whole_error,
)
from providers.keypool import KeyPoolExhausted
from providers.kinds import KINDS
from proxy import failover
from proxy.errors import (
    BadBody,
    CircuitOpen,
    GatewayError,
    KeysRateLimited,
    KeysUnauthorized,
    UpstreamBroke,
    UpstreamTimedOut,
    UpstreamUnreachable,
)

OPENAI_LIKE = ["openai", "azure", "google", "openrouter", "openai-compat"]


@pytest.mark.parametrize("kind", [*KINDS, "unheard-of"])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, "bad_request"),
        (404, "bad_request"),
        (413, "bad_request"),
        (422, "bad_request"),
        (401, "unauthorized"),
        (403, "unauthorized"),
        (408, "timeout"),
        (429, "rate_limited"),
        (500, "server_error"),
        (502, "server_error"),
        (504, "server_error"),
        (599, "server_error"),
        (402, "unknown"),
        (405, "unknown"),
        (409, "unknown"),
        (415, "unknown"),
        (418, "unknown"),
        (302, "unknown"),
        (200, "unknown"),
    ],
)
def test_a_status_means_the_same_for_every_kind(kind, status, expected):
    assert classify_status(kind, status) == expected


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("anthropic", 529, "overloaded"),
        ("anthropic", 503, "server_error"),
        ("bedrock", 529, "overloaded"),
        ("bedrock", 503, "server_error"),
        *((kind, 503, "overloaded") for kind in OPENAI_LIKE),
        *((kind, 529, "server_error") for kind in OPENAI_LIKE),
        ("unheard-of", 503, "overloaded"),
    ],
)
def test_overload_has_its_own_status_for_each_kind(kind, status, expected):
    assert classify_status(kind, status) == expected


@pytest.mark.parametrize(
    ("status", "error_kind", "expected"),
    [
        (429, "rate_limit_exceeded", "rate_limited"),
        (503, "server_error", "overloaded"),
        (503, "", "overloaded"),
        (529, "server_error", "server_error"),
        (529, "overloaded_error", "overloaded"),
        (503, "api_error", "server_error"),
        (401, "authentication_error", "unauthorized"),
        (418, "", "unknown"),
    ],
)
def test_copilot_is_judged_by_the_shape_of_its_error(status, error_kind, expected):
    assert classify_status("copilot", status, error_kind) == expected


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "copilot"])
def test_the_shape_of_an_error_says_nothing_about_other_kinds(kind):
    plain = classify_status(kind, 503)
    assert classify_status(kind, 503, "overloaded_error") == plain


def test_every_answer_is_a_stored_type():
    found = {
        classify_status(kind, status, shape)
        for kind in KINDS
        for status in range(100, 600)
        for shape in ("", "api_error")
    }
    assert found <= set(ErrorType.values)


def test_no_error_is_neither_type_nor_message():
    assert whole_error(None) == (None, None)


@pytest.mark.parametrize("error_type", ErrorType.values)
def test_a_known_type_is_kept(error_type):
    assert whole_error((error_type, "why")) == (error_type, "why")


@pytest.mark.parametrize("error_type", ["mystery", "", "TIMEOUT"])
def test_an_unknown_type_becomes_unknown(error_type):
    assert whole_error((error_type, "mystery")) == ("unknown", "mystery")


def test_a_message_is_never_missing_where_a_type_is():
    assert whole_error(("overloaded", "")) == ("overloaded", "Overloaded")


def test_a_long_message_is_cut_to_1024_bytes():
    assert truncate_message("x" * 2048) == "x" * 1024


def test_a_message_is_cut_between_characters():
    cut = truncate_message("€" * 1024)
    assert cut == "€" * 341
    assert len(cut.encode()) == 1023


@pytest.mark.parametrize("length", range(1018, 1030))
def test_a_cut_never_leaves_half_a_character(length):
    text = "x" * length + "🙂ü€"
    cut = truncate_message(text)
    assert len(cut.encode()) <= 1024
    assert text.startswith(cut)


def test_a_short_message_stays_as_it_is():
    assert truncate_message("zu spät") == "zu spät"


def test_a_known_secret_is_masked():
    secret = "whatever-the-provider-calls-a-key"
    assert stored_message(f"bad: {secret}!", [secret]) == "bad: what...-key!"


def test_a_secret_across_the_cut_does_not_leak_its_first_half():
    secret = "s3cret-" + "0123456789" * 4
    message = stored_message("x" * 1010 + secret, [secret])
    assert secret[:10] not in message


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnopqrstuvwx",
        "sk-ant-api03-abc_def-ghijklmnopq",
        "aib_0123abcd_ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "gsk_abcdefghijklmnopqrstuvwx",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA-1234567890abcdefghijklmnopqrstu",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    ],
)
def test_a_users_own_key_is_masked_though_nobody_knows_it(secret):
    message = stored_message(f"Incorrect API key provided: {secret}.")
    assert secret not in message
    assert secret[:4] in message


@pytest.mark.parametrize(
    "text",
    [
        "context length exceeded for claude-sonnet-4-5-20250929",
        "desk-based-working-arrangement-of-people",
        "sk-short",
        "request req_011CSHoEeqs5C35K2UUqR7Fy failed",
    ],
)
def test_ordinary_text_is_not_taken_for_a_key(text):
    assert stored_message(text) == text


# What the gateway itself reports


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (CircuitOpen(30), ("server_error", "circuit breaker is open")),
        (UpstreamTimedOut("too late"), ("timeout", "too late")),
        (UpstreamUnreachable("refused"), ("server_error", "refused")),
        (UpstreamBroke("truncated"), ("server_error", "truncated")),
        (KeysUnauthorized("all keys"), ("unauthorized", "all keys")),
        (KeysRateLimited("all keys", 7), ("rate_limited", "all keys")),
        (BadBody("no JSON"), ("bad_request", "no JSON")),
        (GatewayError("mystery"), ("unknown", "mystery")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_failure_of_the_gateway_is_recorded_by_its_class(failure, expected):
    assert whole_error((failure.error_type, failure.message)) == expected


class SpentCredential:
    """A pool in which no key is left."""

    def __init__(self, *, permanent: bool) -> None:
        self._permanent = permanent

    def walk(self):
        raise KeyPoolExhausted(self._permanent, 7.0)


@pytest.mark.parametrize(
    ("permanent", "expected"),
    [
        (True, ("unauthorized", "all configured keys failed authentication")),
        (False, ("rate_limited", "all configured keys are rate-limited")),
    ],
)
def test_an_exhausted_pool_is_recorded_by_its_reason(permanent, expected):
    credential = SpentCredential(permanent=permanent)
    with pytest.raises(GatewayError) as raised:
        failover.open_answer(None, SimpleNamespace(name="p"), credential, print)
    error = whole_error((raised.value.error_type, raised.value.message))
    assert error[0] == expected[0]
    assert expected[1] in error[1]

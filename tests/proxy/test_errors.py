"""An exhausted pool as the client sees it: rows of the reference's table."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from providers.keypool import Key, KeyPool
from providers.kinds import CHAT, KINDS, MESSAGES, RESPONSES
from providers.provider import Provider
from proxy import dialects, errors
from proxy.credentials import PooledCredential
from proxy.failover import open_answer

DIALECTS = [MESSAGES, CHAT, RESPONSES]


def never(*_: object) -> None:
    raise AssertionError("no key was left, so nothing may be tried")


def exhausted(*marks: float | str) -> errors.GatewayError:
    """Return what is raised for a pool whose keys are marked so."""
    pool = KeyPool([Key(f"k{n}") for n in range(len(marks))], clock=lambda: 1000.0)
    for key, mark in zip(pool.keys, marks, strict=True):
        if mark == "permanent":
            pool.mark_permanent(key)
        else:
            pool.mark_temporary(key, mark)
    provider = Provider(uuid4(), "main", "openai", KINDS["openai"], pool=pool)
    with pytest.raises(errors.GatewayError) as raised:
        open_answer(None, provider, PooledCredential(provider), never)
    return raised.value


def test_exhausted_for_five_seconds_is_429_with_retry_after():
    error = exhausted(60, 5)
    assert (error.status, error.headers) == (429, {"Retry-After": "5"})
    assert error.error_type == "rate_limited"


def test_exhausted_for_good_is_502_without_retry_after():
    error = exhausted("permanent", "permanent")
    assert (error.status, error.headers) == (502, {})
    assert error.error_type == "unauthorized"
    assert error.message == "all configured keys failed authentication"


@pytest.mark.parametrize(
    ("seconds", "headers"),
    [
        (60, {"Retry-After": "60"}),
        (0.5, {"Retry-After": "1"}),
        (0.2, {"Retry-After": "1"}),
        (0, {}),
        (-1, {}),
    ],
    ids=["60 s", "500 ms", "200 ms", "zero", "negative"],
)
@pytest.mark.parametrize("name", DIALECTS)
def test_retry_after_is_rounded_up_and_left_out_when_there_is_none(
    name, seconds, headers
):
    error = errors.KeysRateLimited("all configured keys are rate-limited", seconds)
    response = errors.render(error, dialects.get(name))
    expected = {"Content-Type": "application/json"} | headers
    assert (response.status_code, dict(response.items())) == (429, expected)


@pytest.mark.parametrize(
    ("marks", "messages_type", "openai_type", "openai_code"),
    [
        ([30], "rate_limit_error", "rate_limit_error", "rate_limit_exceeded"),
        (["permanent"], "api_error", "api_error", "server_error"),
    ],
    ids=["RateLimited", "Permanent"],
)
def test_exhaustion_speaks_the_dialect(marks, messages_type, openai_type, openai_code):
    error = exhausted(*marks)
    messages = json.loads(errors.render(error, dialects.get(MESSAGES)).content)
    assert messages["type"] == "error"
    assert messages["error"]["type"] == messages_type
    for name in (CHAT, RESPONSES):
        body = json.loads(errors.render(error, dialects.get(name)).content)
        assert (body["error"]["type"], body["error"]["code"]) == (
            openai_type,
            openai_code,
        )
    assert "all configured keys" in messages["error"]["message"]

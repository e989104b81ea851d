"""Rows of the reference's marking table, decisions D3, and each kind's own rows."""

from __future__ import annotations

import json
from email.utils import formatdate

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptions.choices import AttemptOutcome
from providers.keypool import Key, KeyPool, KeyState
from providers.kinds import KINDS
from proxy.classifier import Verdict, classify, needs_body

NOW = 1_800_000_000.0
POOLED = [kind for kind, spec in KINDS.items() if spec.has_pool]


def judge(
    status: int,
    headers: dict[str, str] | None = None,
    body: object = b"",
    *,
    kind: str = "anthropic",
    policy: str = "retire",
    max_cooldown: float = 3600,
) -> Verdict:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(
        kind,
        policy,
        status,
        httpx.Headers(headers or {}),
        content,
        default_cooldown=60,
        quota_cooldown=600,
        max_cooldown=max_cooldown,
        now=NOW,
    )


def error(**fields: object) -> dict[str, object]:
    return {"error": fields}


# 30.3: mark on status


@pytest.mark.parametrize("kind", POOLED)
@pytest.mark.parametrize(
    ("headers", "cooldown"),
    [({"Retry-After": "5"}, 5), ({"retry-after-ms": "1500"}, 1.5), ({}, 60)],
    ids=["Retry-After 5", "retry-after-ms 1500", "without header"],
)
def test_429_rests_the_key_for_as_long_as_upstream_asks(kind, headers, cooldown):
    verdict = judge(429, headers, kind=kind)
    now = [0.0]
    pool = KeyPool([Key("k0")], clock=lambda: now[0])
    (key,) = pool.keys
    assert verdict.failover
    assert verdict.mark == "temporary"
    assert pool.mark_temporary(key, verdict.cooldown, verdict.reason)
    assert pool.state(key) is KeyState.TEMPORARY
    now[0] = cooldown
    assert pool.state(key) is KeyState.VALID


@pytest.mark.parametrize("kind", POOLED)
@pytest.mark.parametrize(
    ("status", "outcome"), [(401, "unauthorized"), (403, "forbidden")]
)
def test_401_and_403_retire_the_key_by_default(kind, status, outcome):
    verdict = judge(status, kind=kind)
    assert verdict == Verdict(outcome, "permanent", failover=True, reason=outcome)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("status", [200, 400, 404, 408, 413, 422, 500, 503, 504, 529])
@pytest.mark.parametrize("policy", ["retire", "cooldown"])
def test_other_statuses_are_no_fault_of_the_key(kind, status, policy):
    verdict = judge(status, kind=kind, policy=policy)
    assert (verdict.mark, verdict.failover, verdict.cooldown) == ("none", False, 0)


# D3


def test_cooldown_policy_rests_a_key_for_a_minute_after_401():
    verdict = judge(401, policy="cooldown")
    assert verdict == Verdict(
        "unauthorized", "temporary", 60, failover=True, reason="unauthorized"
    )


def test_cooldown_policy_relays_403():
    verdict = judge(403, policy="cooldown")
    assert (verdict.outcome, verdict.mark, verdict.failover) == (
        "forbidden",
        "none",
        False,
    )


def test_retry_after_may_be_a_date():
    verdict = judge(429, {"Retry-After": formatdate(NOW + 90, usegmt=True)})
    assert (verdict.cooldown, verdict.retry_after) == (90, 90)


def test_cooldown_is_capped_but_what_upstream_asked_is_kept():
    verdict = judge(429, {"Retry-After": "86400"})
    assert (verdict.cooldown, verdict.retry_after) == (3600, 86400)


def test_cap_is_the_providers():
    assert judge(429, {"Retry-After": "86400"}, max_cooldown=7200).cooldown == 7200
    assert judge(429, max_cooldown=5).cooldown == 5


def test_date_in_the_past_means_the_default_cooldown():
    verdict = judge(429, {"Retry-After": formatdate(NOW - 90, usegmt=True)})
    assert (verdict.cooldown, verdict.retry_after) == (60, 0)


OUT_OF_MONEY = {
    "openai insufficient_quota": (
        "openai",
        429,
        error(
            message="You exceeded your current quota.",
            type="insufficient_quota",
            param=None,
            code="insufficient_quota",
        ),
    ),
    "openai code only": ("openai", 429, error(code="insufficient_quota")),
    "azure insufficient_quota": ("azure", 429, error(code="insufficient_quota")),
    "anthropic billing_error as 429": ("anthropic", 429, error(type="billing_error")),
    "anthropic billing_error": ("anthropic", 402, error(type="billing_error")),
    "anthropic credit balance": (
        "anthropic",
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the API.",
            },
        },
    ),
    "openrouter 402": ("openrouter", 402, error(code=402, message="Insufficient")),
    "compatible 402": ("openai-compat", 402, error(message="Insufficient Balance")),
    "text instead of JSON": ("openai", 429, b"insufficient_quota"),
}


@pytest.mark.parametrize("policy", ["retire", "cooldown"])
@pytest.mark.parametrize(
    ("kind", "status", "body"), OUT_OF_MONEY.values(), ids=OUT_OF_MONEY
)
def test_account_without_money_rests_for_ten_minutes(kind, status, body, policy):
    verdict = judge(status, {"Retry-After": "5"}, body, kind=kind, policy=policy)
    assert verdict == Verdict("quota", "temporary", 600, 5, True, "quota")


def test_plain_rate_limit_is_no_spent_quota():
    body = error(type="rate_limit_error", message="This would exceed your limit")
    assert judge(429, {}, body).reason == "rate_limited"


def test_words_about_money_outside_the_error_are_no_evidence():
    body = {"error": {"type": "rate_limit_error"}, "request": "insufficient_quota"}
    assert judge(429, {}, body, kind="openai").reason == "rate_limited"


def test_400_with_a_credit_balance_of_another_kind_is_the_callers_fault():
    body = error(message="Your credit balance is too low")
    assert judge(400, {}, body, kind="openai").outcome == "rejected"


GEMINI_BAD_KEY = [
    {
        "error": {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{"@type": "ErrorInfo", "reason": "API_KEY_INVALID"}],
        }
    }
]


@pytest.mark.parametrize("body", [GEMINI_BAD_KEY, GEMINI_BAD_KEY[0]])
def test_gemini_400_about_the_key_is_a_credential_failure(body):
    retired = judge(400, {}, body, kind="google")
    rested = judge(400, {}, body, kind="google", policy="cooldown")
    assert (retired.outcome, retired.mark) == ("unauthorized", "permanent")
    assert (rested.mark, rested.cooldown) == ("temporary", 60)


def test_gemini_400_about_the_request_is_the_callers_fault():
    body = [error(code=400, message="Invalid value", status="INVALID_ARGUMENT")]
    assert judge(400, {}, body, kind="google").outcome == "rejected"


def test_openrouter_moderation_does_not_cost_the_key():
    body = error(code=403, message="Your input was flagged for moderation")
    verdict = judge(403, {}, body, kind="openrouter")
    assert (verdict.outcome, verdict.mark, verdict.failover) == (
        "rejected",
        "none",
        False,
    )


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "accepted"),
        (302, "rejected"),
        (400, "rejected"),
        (404, "rejected"),
        (408, "timeout"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "overloaded"),
        (504, "timeout"),
        (529, "overloaded"),
    ],
)
def test_outcome_names_what_the_attempt_came_to(status, outcome):
    assert judge(status).outcome == outcome


@pytest.mark.parametrize("status", [429, 503, 529, 500, 400])
def test_byok_callers_can_be_told_what_upstream_asked(status):
    assert judge(status, {"Retry-After": "7"}).retry_after == 7


# Which bodies are read before the verdict


@pytest.mark.parametrize(
    ("kind", "status", "needed"),
    [
        ("anthropic", 429, True),
        ("openai", 429, True),
        ("anthropic", 400, True),
        ("google", 400, True),
        ("openai", 400, False),
        ("anthropic", 402, False),
        ("anthropic", 401, False),
        ("anthropic", 403, False),
        ("openrouter", 403, True),
        ("openai", 500, False),
        ("openai", 200, False),
        ("no such kind", 400, False),
    ],
)
def test_body_is_needed_only_where_it_decides(kind, status, needed):
    assert needs_body(kind, status) is needed


@given(
    st.sampled_from([*KINDS, "no such kind"]),
    st.sampled_from(["retire", "cooldown"]),
    st.integers(200, 599),
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["error", "type", "message", "details", "reason"]),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_verdict_is_consistent_whatever_upstream_sends(kind, policy, status, body):
    verdict = judge(status, {}, body, kind=kind, policy=policy)
    assert verdict.outcome in AttemptOutcome.values
    assert verdict.failover is (verdict.mark != "none")
    assert (verdict.cooldown > 0) is (verdict.mark == "temporary")
    assert bool(verdict.reason) is verdict.failover
    if not needs_body(kind, status):
        assert verdict == judge(status, {}, b"", kind=kind, policy=policy)

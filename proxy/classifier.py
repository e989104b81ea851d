"""What an upstream answer means for the key that got it.

Pure: status, headers and body in, a verdict out. The plain rules (decisions D3) hold
for every kind: 429 rests the key, 401 and 403 follow the provider's policy, everything
else is no fault of the key. Rows of a kind's table come before them, for upstreams that
say the same things with another status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from providers.kinds import Kind
from proxy.retry_after import parse_retry_after

COOLDOWN_POLICY = "cooldown"

_QUOTA_EVIDENCE = (
    "insufficient_quota",
    "billing_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "credit balance",
)
"""Codes, types and phrases that say the account is out of money, on any 429."""

_EVIDENCE_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to record, and what becomes of the key.

    ``outcome`` is a value of AttemptOutcome. ``mark`` is none, temporary or permanent.
    ``cooldown`` is the rest to apply in seconds (0.0 without one), ``retry_after`` what
    upstream asked for, uncapped (0.0 when it did not say). ``failover`` says that the
    next key may fare better. ``reason`` is stored with the mark.
    """

    outcome: str
    mark: str = "none"
    cooldown: float = 0.0
    retry_after: float = 0.0
    failover: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a kind's table; without evidence the status alone decides."""

    status: int
    meaning: str
    evidence: tuple[str, ...] = ()


_GEMINI_BAD_KEY = ("api_key_invalid", "api key not valid", "api key expired")

_ROWS: dict[str, tuple[_Row, ...]] = {
    Kind.ANTHROPIC: (
        _Row(402, "quota"),
        _Row(400, "quota", ("credit balance",)),
    ),
    Kind.GOOGLE: (_Row(400, "unauthorized", _GEMINI_BAD_KEY),),
    Kind.OPENROUTER: (
        _Row(402, "quota"),
        # Moderation answers 403 to one prompt; the key is fine.
        _Row(403, "rejected", ("flagged",)),
    ),
    Kind.OPENAI_COMPAT: (_Row(402, "quota"),),
}

_OUTCOMES = {408: "timeout", 504: "timeout", 503: "overloaded", 529: "overloaded"}


def needs_body(kind: str, status: int) -> bool:
    """Whether ``classify`` looks into the body of an answer with this status."""
    return status == 429 or any(
        row.status == status and row.evidence for row in _ROWS.get(kind, ())
    )


def classify(
    kind: str,
    policy: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    default_cooldown: float,
    quota_cooldown: float,
    max_cooldown: float,
    now: float,
) -> Verdict:
    """Return the verdict on one answer; never raises on what upstream sent.

    Cooldowns are seconds; ``now`` is seconds since the epoch, for HTTP-dates.
    """
    if status < 300:
        return Verdict("accepted")
    asked = parse_retry_after(headers, now=now)
    meaning = _meaning(kind, status, body)
    if meaning == "quota":
        rest = min(max(quota_cooldown, asked), max_cooldown)
        return _temporary("quota", "quota", rest, asked)
    if meaning == "rate_limited":
        rest = min(asked or default_cooldown, max_cooldown)
        return _temporary("rate_limited", "rate_limited", rest, asked)
    if meaning in {"unauthorized", "forbidden"}:
        rest = min(default_cooldown, max_cooldown)
        return _credential_failure(meaning, policy, rest, asked)
    return Verdict(meaning, retry_after=asked)


def _meaning(kind: str, status: int, body: bytes) -> str:
    """Return the outcome that the kind's table or the plain rules give a status."""
    said = _said(body) if needs_body(kind, status) else ""
    for row in _ROWS.get(kind, ()):
        if row.status == status and _is_shown(row.evidence, said):
            return row.meaning
    if status == 429:
        return "quota" if _is_shown(_QUOTA_EVIDENCE, said) else "rate_limited"
    if status in {401, 403}:
        return "unauthorized" if status == 401 else "forbidden"
    default = "server_error" if status >= 500 else "rejected"
    return _OUTCOMES.get(status, default)


def _temporary(outcome: str, reason: str, rest: float, asked: float) -> Verdict:
    return Verdict(outcome, "temporary", rest, asked, True, reason)


def _credential_failure(
    meaning: str, policy: str, rest: float, asked: float
) -> Verdict:
    if policy != COOLDOWN_POLICY:
        return Verdict(meaning, "permanent", 0.0, asked, True, meaning)
    if meaning == "forbidden":
        return Verdict(meaning, retry_after=asked)
    return _temporary(meaning, meaning, rest, asked)


def _is_shown(evidence: tuple[str, ...], said: str) -> bool:
    return not evidence or any(phrase in said for phrase in evidence)


def _said(body: bytes) -> str:
    """Return the codes and messages of an error body in lower case, else its text.

    Only the error's own fields count, so that a prompt which upstream echoes elsewhere
    in the body is no evidence.
    """
    text = body[:_EVIDENCE_LIMIT].decode("utf-8", "replace")
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return text.lower()
    return "\n".join(_texts(_error_of(parsed))).lower()


def _error_of(parsed: Any) -> Any:
    if isinstance(parsed, list):
        parsed = parsed[0] if parsed else {}
    if isinstance(parsed, dict):
        return parsed.get("error") or parsed
    return parsed


def _texts(error: Any) -> list[str]:
    """Return type, code, status, message and the details' reasons, as far as given."""
    if isinstance(error, str):
        return [error]
    if not isinstance(error, dict):
        return []
    found = [error.get(name) for name in ("type", "code", "status", "message")]
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        found.append(detail.get("reason") if isinstance(detail, dict) else None)
    return [text for text in found if isinstance(text, str)]

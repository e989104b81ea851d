"""Decides which headers cross the gateway, in either direction.

Pure functions over (name, value) pairs; names compare without case, inputs are never
changed, repeated headers keep all their values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

Headers = list[tuple[str, str]]

ACTOR_ID = "X-AI-Bridge-Actor-ID"
ACTOR_METADATA = "X-AI-Bridge-Actor-Metadata-"

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_TRANSPORT = {"host", "accept-encoding", "content-length", "expect"}
_CREDENTIALS = {"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
# Where the client sits, and what only the gateway itself may say.
_LOCAL = {"forwarded", "x-real-ip", "x-aibridge-token", "anthropic-workspace-id"}
_STRIPPED = HOP_BY_HOP | _TRANSPORT | _CREDENTIALS | _LOCAL
_STRIPPED_PREFIXES = (
    "x-ai-bridge-actor",
    "x-coder-ai-governance-",
    "x-coder-agent-firewall-",
    "x-forwarded-",
)
_RELAYED = {"content-type", "request-id", "x-request-id"}
_RELAYED_PREFIXES = ("retry-after", "anthropic-", "openai-", "x-ratelimit-")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9!#$%&'*+.^_`|~-]")


def upstream_headers(
    client_headers: Iterable[tuple[str, str]],
    *,
    auth: tuple[str, str] | None,
    actor: Mapping[str, Any] | None = None,
) -> Headers:
    """Return the headers of the upstream request.

    They are the client's own, less what is meant for the gateway or for one hop,
    plus exactly one credential (none when ``auth`` is None) and, when ``actor``
    (``{"id": ..., "metadata": {...}}``) is given, the headers that name it.
    """
    pairs = list(client_headers)
    stripped = _STRIPPED | _named_by_connection(pairs)
    if auth is not None:
        stripped.add(auth[0].lower())
    kept = [(name, value) for name, value in pairs if _is_kept(name, stripped)]
    kept.append(("Accept-Encoding", "identity"))
    if auth is not None:
        kept.append(auth)
    return kept + actor_headers(actor)


def _is_kept(name: str, stripped: set[str]) -> bool:
    lower = name.lower().strip()
    return lower not in stripped and not lower.startswith(_STRIPPED_PREFIXES)


def _named_by_connection(pairs: Headers) -> set[str]:
    """Return the headers that ``Connection`` declares to be for one hop."""
    values = [value for name, value in pairs if name.lower() == "connection"]
    return {name.strip().lower() for value in values for name in value.split(",")}


def actor_headers(actor: Mapping[str, Any] | None) -> Headers:
    """Return the headers that tell upstream who calls; none without an actor."""
    if actor is None:
        return []
    metadata = actor.get("metadata") or {}
    return [(ACTOR_ID, _header_value(actor.get("id")))] + [
        (ACTOR_METADATA + _NOT_IN_NAMES.sub("-", str(key)), _header_value(value))
        for key, value in metadata.items()
    ]


def _header_value(value: Any) -> str:
    """Return text that any HTTP library sends: printable ASCII, the rest quoted."""
    text = "" if value is None else str(value)
    return "".join(
        char if " " <= char <= "~" else quote(char, errors="replace") for char in text
    ).strip()


def relayed_response_headers(upstream: Iterable[tuple[str, str]]) -> Headers:
    """Return those of upstream's headers that the client receives."""
    return [(name, value) for name, value in upstream if _is_relayed(name.lower())]


def _is_relayed(lower: str) -> bool:
    return lower in _RELAYED or lower.startswith(_RELAYED_PREFIXES)


def bearer_token(value: str | None) -> str:
    """Return the token of an ``Authorization`` value of two words, else ""."""
    words = (value or "").split()
    if len(words) != 2 or words[0].lower() != "bearer":
        return ""
    return words[1]

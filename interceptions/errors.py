"""What a failure is called in the record, and how its message may be stored.

Knows statuses and texts only; which exception means what is told by who raises it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from interceptions.choices import ErrorType
from providers.kinds import KINDS, Kind
from providers.masking import mask, scrub

MESSAGE_BYTES = 1024

_BY_STATUS = {
    400: ErrorType.BAD_REQUEST,
    401: ErrorType.UNAUTHORIZED,
    403: ErrorType.UNAUTHORIZED,
    404: ErrorType.BAD_REQUEST,
    408: ErrorType.TIMEOUT,
    413: ErrorType.BAD_REQUEST,
    422: ErrorType.BAD_REQUEST,
    429: ErrorType.RATE_LIMITED,
}
_OPENAI_OVERLOADED = 503
# Of a mixed upstream's errors, only these types tell an Anthropic shape for sure.
_ANTHROPIC_TYPES = frozenset({"api_error", "overloaded_error"})
# Keys that the registry cannot know: a caller's own, echoed by upstream.
_KEY_LIKE = re.compile(
    r"\b(?:sk|rk|pk|aib|gsk|xai|key|hf|ghp|gho|ghu|github_pat)[-_][\w-]{16,}"
    r"|\bAIza[\w-]{30,}|\bA[KS]IA[A-Z0-9]{16}\b"
)


def classify_status(kind: str, status: int, error_kind: str = "") -> str:
    """Return the error type of an upstream's HTTP status.

    ``kind`` is the provider's, ``error_kind`` the type inside upstream's error body:
    a kind that relays both APIs (copilot) is judged by the shape of its error.
    """
    if status == _overloaded_status(kind, error_kind):
        return ErrorType.OVERLOADED.value
    if status >= 500:
        return ErrorType.SERVER_ERROR.value
    return _BY_STATUS.get(status, ErrorType.UNKNOWN).value


def _overloaded_status(kind: str, error_kind: str) -> int:
    if kind == Kind.COPILOT and error_kind in _ANTHROPIC_TYPES:
        kind = Kind.ANTHROPIC
    spec = KINDS.get(kind)
    return spec.overloaded_status if spec else _OPENAI_OVERLOADED


def whole_error(
    error: tuple[str, str] | None, secrets: Iterable[str] = ()
) -> tuple[str, str] | tuple[None, None]:
    """Return type and message as they may be stored: both, or neither.

    A type that is none becomes unknown; an empty message becomes the type's label.
    """
    if error is None:
        return None, None
    given, message = error
    error_type = ErrorType(given if given in ErrorType.values else ErrorType.UNKNOWN)
    return error_type.value, stored_message(message, secrets) or error_type.label


def stored_message(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without secrets, whole characters, at most MESSAGE_BYTES."""
    if not text:
        return ""
    # Cut first, but not so close that half a secret could stay unrecognised.
    scrubbed = scrub(text[: 16 * MESSAGE_BYTES], secrets)
    scrubbed = _KEY_LIKE.sub(lambda match: mask(match.group()), scrubbed)
    return truncate_message(scrubbed)


def truncate_message(text: str, limit: int = MESSAGE_BYTES) -> str:
    """Cut to ``limit`` bytes of UTF-8 at a character's boundary."""
    encoded = text.encode("utf-8", "replace")
    return encoded[:limit].decode("utf-8", "ignore")

"""Reads the error shapes that upstreams use, and says what kind of failure each is.

Pure data: no dialect's envelope is written here (see ``envelopes``).
"""

from __future__ import annotations

from typing import Any

from .base import Json, NotAnAnswer, TurnError
from .jsontext import as_object, as_objects, as_text, read_json

LONGEST_TEXT = 4096

# The names providers document, to values of interceptions.choices.ErrorType.
ERROR_TYPES = {
    "overloaded_error": "overloaded",
    "overloaded": "overloaded",
    "service_unavailable": "overloaded",
    "service_unavailable_error": "overloaded",
    "slow_down": "overloaded",
    "unavailable": "overloaded",
    "rate_limit_error": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_exceeded_error": "rate_limited",
    "insufficient_quota": "rate_limited",
    "resource_exhausted": "rate_limited",
    "throttlingexception": "rate_limited",
    "authentication_error": "unauthorized",
    "permission_error": "unauthorized",
    "permission_denied": "unauthorized",
    "invalid_api_key": "unauthorized",
    "api_key_invalid": "unauthorized",
    "unauthenticated": "unauthorized",
    "accessdeniedexception": "unauthorized",
    "invalid_request_error": "bad_request",
    "invalid_request": "bad_request",
    "invalid_argument": "bad_request",
    "invalid_prompt": "bad_request",
    "not_found_error": "bad_request",
    "not_found": "bad_request",
    "request_too_large": "bad_request",
    "context_length_exceeded": "bad_request",
    "validationexception": "bad_request",
    "timeout_error": "timeout",
    "timeout": "timeout",
    "deadline_exceeded": "timeout",
    "modeltimeoutexception": "timeout",
    "api_error": "server_error",
    "server_error": "server_error",
    "internal_error": "server_error",
    "internal_server_error": "server_error",
    "internal": "server_error",
    "internalserverexception": "server_error",
}
_ERROR_STATUSES = {
    "400": "bad_request",
    "401": "unauthorized",
    "403": "unauthorized",
    "404": "bad_request",
    "408": "timeout",
    "413": "bad_request",
    "422": "bad_request",
    "429": "rate_limited",
    "500": "server_error",
    "502": "server_error",
    "503": "overloaded",
    "504": "timeout",
    "529": "overloaded",
}


def truncated() -> TurnError:
    """Return the error of a stream that upstream cut short."""
    return TurnError(
        "server_error", "upstream ended the stream before its terminal event"
    )


def not_an_answer() -> NotAnAnswer:
    """Return the error of an answer of status 200 that is no JSON object."""
    return NotAnAnswer("server_error", "upstream's answer is not a JSON object")


def turn_error(data: Json) -> TurnError:
    """Return the error that an event or a body of status 200 reports."""
    kind, code, message = read_error_object(data)
    return TurnError(error_type_of(kind, code), message or kind or code or "error")


def error_type_of(kind: str, code: str) -> str:
    """Return the ErrorType value of an error's own type and code.

    The code is looked at first: OpenAI calls a bad key an invalid request whose code
    is ``invalid_api_key``.
    """
    for word in (code.lower(), kind.lower()):
        found = ERROR_TYPES.get(word) or _ERROR_STATUSES.get(word)
        if found:
            return found
    return "unknown"


def read_error(body: bytes) -> tuple[str, str, str]:
    """Return (type, code, message) of an error body of any provider, or its text."""
    value = read_json(body)
    if isinstance(value, list):
        # Google wraps the error of a streamed call in a list.
        value = next(iter(as_objects(value)), None)
    if isinstance(value, dict):
        kind, code, message = read_error_object(value)
        if kind or code or message:
            return kind, code, message
    return "", "", _plain_text(body)


def read_error_object(value: Json) -> tuple[str, str, str]:
    """Return (type, code, message) of a decoded error; "" where unknown."""
    response = as_object(value.get("response"))
    error = value.get("error") or response.get("error")
    if isinstance(error, str):
        return "", _word(value.get("code")), as_text(error)
    inner = as_object(error)
    fields = inner or value
    kind = _word(fields.get("type") or fields.get("__type") or fields.get("status"))
    code = _google_reason(inner) or _word(fields.get("code"))
    return _own_type(kind, inner), code, _message(fields)


def _own_type(kind: str, inner: Json) -> str:
    # Bedrock writes "namespace#Name"; a bare event's type is "error" for every error.
    name = kind.rpartition("#")[2]
    return "" if name == "error" and not inner else name


def _google_reason(error: Json) -> str:
    for detail in as_objects(error.get("details")):
        if reason := as_text(detail.get("reason")):
            return reason
    return ""


def _message(fields: Json) -> str:
    for name in ("message", "Message", "detail", "error_description"):
        if message := as_text(fields.get(name)):
            return message
    return ""


def _word(value: Any) -> str:
    if type(value) is int:
        return str(value)
    return as_text(value)


def _plain_text(body: bytes) -> str:
    return body[:LONGEST_TEXT].decode("utf-8", "ignore").strip()

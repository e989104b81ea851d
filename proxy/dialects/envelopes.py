"""Writes errors the way Anthropic and OpenAI document them, by HTTP status."""

from __future__ import annotations

from .base import Json

ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# (type, code) by status.
OPENAI_TYPES: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "permission_denied"),
    404: ("invalid_request_error", "not_found"),
    408: ("server_error", "timeout"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("server_error", "server_error"),
    502: ("api_error", "server_error"),
    503: ("server_error", "service_unavailable"),
    504: ("server_error", "timeout"),
    529: ("server_error", "service_unavailable"),
}


def anthropic_error(status: int, message: str, error_type: str) -> Json:
    """Return ``{"type": "error", "error": {...}}``."""
    fallback = "api_error" if status >= 500 else "invalid_request_error"
    kind = error_type or ANTHROPIC_TYPES.get(status, fallback)
    return {"type": "error", "error": {"type": kind, "message": message}}


def openai_error(status: int, message: str, error_type: str) -> Json:
    """Return the inside of OpenAI's ``{"error": {...}}``."""
    fallback = OPENAI_TYPES[400 if status < 500 else 500]
    kind, code = OPENAI_TYPES.get(status, fallback)
    return {
        "message": message,
        "type": error_type or kind,
        "param": None,
        "code": code,
    }

"""What a failure is called in the record."""

from __future__ import annotations

_TYPES = {
    400: "bad_request",
    404: "bad_request",
    413: "bad_request",
    422: "bad_request",
    401: "unauthorized",
    403: "unauthorized",
    408: "timeout",
    429: "rate_limited",
}
_OVERLOADED = {"anthropic": 529, "bedrock": 529}


def classify_status(kind: str, status: int, error_kind: str = "") -> str:
    """Return the error type for an upstream status."""
    if status == _OVERLOADED.get(kind, 503):
        return "overloaded"
    return _TYPES.get(status, "server_error" if status >= 500 else "unknown")

"""What the gateway itself answers when it cannot pass on an upstream answer.

    GatewayError
    ├── Unauthorized 401, Forbidden 403          who calls
    ├── ProviderUnknown, RouteUnknown 404        where to
    ├── ProviderUnavailable 503                  disabled or broken provider
    ├── BodyTooLarge 413, BadBody 400            what was sent
    ├── WebSocketRefused, BackgroundRefused 501
    ├── RecordUnavailable, AtCapacity 503, TooManyRequests 429
    ├── CircuitOpen 503, KeysRateLimited 429, KeysUnauthorized 502
    └── UpstreamTimedOut 504, UpstreamUnreachable, UpstreamBroke, UpstreamEmpty 502

Each class knows its status and what the record says; ``render`` is the only place
that turns one into a response, in the envelope of the dialect the client speaks.
"""

from __future__ import annotations

import math

from django.http import HttpResponse

from proxy.dialects.base import Dialect


class GatewayError(Exception):
    """A failure with a status; the message is meant for the client.

    ``error_type`` is the value of ErrorType that the record gets, ``envelope_type``
    the error type inside the envelope when the status alone does not say it.
    """

    status = 500
    error_type = "unknown"
    envelope_type = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def headers(self) -> dict[str, str]:
        """Return headers that belong to this error."""
        return {}


class Unauthorized(GatewayError):
    """No gateway token, or one that is unknown, expired or revoked."""

    status = 401
    error_type = "unauthorized"


class Forbidden(GatewayError):
    """The owner may not call, or BYOK is switched off."""

    status = 403
    error_type = "unauthorized"


class ProviderUnknown(GatewayError):
    """No live provider has this name."""

    status = 404
    error_type = "bad_request"


class RouteUnknown(GatewayError):
    """The provider's kind has no such route; it is never forwarded."""

    status = 404
    error_type = "bad_request"


class ProviderUnavailable(GatewayError):
    """The provider is disabled or cannot be used as configured."""

    status = 503
    error_type = "server_error"


class BadBody(GatewayError):
    """The body is not what the API takes."""

    status = 400
    error_type = "bad_request"


class BodyTooLarge(GatewayError):
    """The body exceeds AIBRIDGE_MAX_BODY_BYTES."""

    status = 413
    error_type = "bad_request"


class WebSocketRefused(GatewayError):
    """The client asked for an upgrade."""

    status = 501
    error_type = "bad_request"


class BackgroundRefused(GatewayError):
    """The client asked for a background response, which could not be recorded."""

    status = 501
    error_type = "bad_request"


class RecordUnavailable(GatewayError):
    """The request could not be recorded, so it was not sent."""

    status = 503
    error_type = "server_error"


class AtCapacity(GatewayError):
    """AIBRIDGE_MAX_CONCURRENCY requests are being served."""

    status = 503
    error_type = "server_error"


class TooManyRequests(GatewayError):
    """The token exceeded AIBRIDGE_RATE_LIMIT requests in this second."""

    status = 429
    error_type = "rate_limited"

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


class CircuitOpen(GatewayError):
    """The circuit breaker of this endpoint and model is open."""

    status = 503
    error_type = "server_error"
    envelope_type = "overloaded_error"

    def __init__(self, timeout: float) -> None:
        super().__init__("circuit breaker is open")
        self._timeout = timeout

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(int(self._timeout))}


class KeysRateLimited(GatewayError):
    """Every key rests; ``retry_after`` is the soonest return in seconds."""

    status = 429
    error_type = "rate_limited"
    envelope_type = "rate_limit_error"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        seconds = math.ceil(self.retry_after)
        return {"Retry-After": str(seconds)} if seconds > 0 else {}


class KeysUnauthorized(GatewayError):
    """Upstream refused every key."""

    status = 502
    error_type = "unauthorized"
    envelope_type = "api_error"


class UpstreamTimedOut(GatewayError):
    """Upstream did not connect, answer or go on in time."""

    status = 504
    error_type = "timeout"


class UpstreamUnreachable(GatewayError):
    """No connection: refused, no such name, or TLS failed."""

    status = 502
    error_type = "server_error"


class UpstreamBroke(GatewayError):
    """Upstream cut the answer or did not speak HTTP."""

    status = 502
    error_type = "server_error"


class UpstreamEmpty(GatewayError):
    """Upstream ended a stream without a single event."""

    status = 502
    error_type = "server_error"

    def __init__(self) -> None:
        super().__init__("upstream closed the stream without an event")


def render(error: GatewayError, dialect: Dialect) -> HttpResponse:
    """Return the error as a response in the dialect's envelope."""
    body = dialect.error_body(
        error.status, error.message, error_type=error.envelope_type
    )
    return HttpResponse(
        body,
        status=error.status,
        content_type="application/json",
        headers=error.headers,
    )

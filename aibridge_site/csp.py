"""The Content-Security-Policy of every page and answer that Django serves.

Knows paths, not views. The admin's toolkit (Alpine) compiles expressions that stand in
attributes, hence ``unsafe-eval`` there and only there; inline scripts run nowhere.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

_NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
_OWN = (
    "default-src 'none'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    # The toolkit prints its colours in a style element and sizes in attributes.
    "style-src 'self' 'unsafe-inline'; script-src 'self'"
)
_ADMIN = f"{_OWN} 'unsafe-eval'"


def policy_for(path: str) -> str:
    """Return the policy of an answer below this path."""
    if path.startswith("/admin/"):
        return _ADMIN
    return _OWN if path.startswith("/api/aigateway/docs/") else _NOTHING


class ContentSecurityPolicy:
    """Middleware: adds the path's policy unless the view set one itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", policy_for(request.path))
        response.headers.setdefault("Permissions-Policy", "camera=(), microphone=()")
        return response

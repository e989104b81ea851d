"""Times in the zone of the person who looks.

The browser tells its zone in a cookie (static/aibridge/aibridge.js writes it); pages
and forms of the admin then show and read times in it. Without the cookie it is UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

COOKIE = "aibridge_zone"


def zone_of(request: HttpRequest) -> ZoneInfo | None:
    """Return the zone the browser named, or None when it is missing or unknown."""
    name = request.COOKIES.get(COOKIE, "").replace("%2F", "/")
    if not name or len(name) > 64:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


class ViewerZone:
    """Middleware: activates the viewer's zone for the admin's pages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith("/admin/"):
            return self.get_response(request)
        with timezone.override(zone_of(request)):
            return self.get_response(request)

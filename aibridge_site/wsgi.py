"""The entry for WSGI servers: the data plane by the short way, the rest by Django's.

A request below /aibridge/ goes straight to its view: it needs no middleware, resolver
or signal, and each of them costs time on every answer. Everything else is Django's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibridge_site.settings")

from django.core.wsgi import get_wsgi_application
from django.http import HttpResponseBase, StreamingHttpResponse

_django = get_wsgi_application()

from proxy.views import serve  # noqa: E402  (needs the applications loaded)

_PREFIX = "/aibridge/"


def application(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
    """Serve one request."""
    path = environ.get("PATH_INFO", "")
    if not path.startswith(_PREFIX):
        return _django(environ, start_response)
    name, slash, route = path[len(_PREFIX) :].partition("/")
    if not slash:
        return _django(environ, start_response)
    response = serve(environ, name, route)
    start_response(
        f"{response.status_code} {response.reason_phrase}", list(response.items())
    )
    return _body(response)


def _body(response: HttpResponseBase) -> Iterable[bytes]:
    if isinstance(response, StreamingHttpResponse):
        # The relay itself: the server closes it when the client leaves.
        return getattr(response, "relay", response)
    return (response.content,)  # type: ignore[attr-defined]

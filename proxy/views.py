"""The data plane's door: from a WSGI request to an answer, or to the reason why not.

Runs without Django's session, CSRF or template machinery; see ``aibridge_site.wsgi``.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from providers import registry
from providers.registry import Provider
from proxy import dialects, errors, passthrough
from proxy.actors import actors, find_token
from proxy.body import read_body
from proxy.call import Call
from proxy.dialects.base import Dialect
from proxy.interceptor import Interceptor
from proxy.limits import admit
from proxy.watch import ClientWatch

logger = logging.getLogger(__name__)

_DEFAULT_ENVELOPE = "openai_chat"


@csrf_exempt
def bridge(request: HttpRequest, provider_name: str, route: str) -> HttpResponseBase:
    """Answer an AI client as its provider would."""
    return serve(request.META, provider_name, route)


def serve(environ: dict[str, Any], provider_name: str, route: str) -> HttpResponseBase:
    """Answer the request of a WSGI environ; every refusal is an enveloped error."""
    provider = registry.get(provider_name)
    dialect = _bridged(provider, route)
    try:
        return _answer(environ, provider_name, provider, route, dialect)
    except errors.GatewayError as error:
        return errors.render(error, dialect or _envelope(provider))


def _answer(
    environ: dict[str, Any],
    provider_name: str,
    provider: Provider | None,
    route: str,
    dialect: Dialect | None,
) -> HttpResponseBase:
    if provider is None and not registry.ready:
        # A worker that began while the database was away. To ask it who calls would
        # take long, and meanwhile the provider may become known.
        raise errors.ProviderUnavailable("the providers are not loaded yet")
    lower = client_headers(environ)
    _refuse_websocket(environ, lower)
    token, byok = find_token(lower)
    actor = actors.authenticate(token)
    provider = _usable(provider, provider_name)
    admit(actor)
    call = Call(
        method=environ["REQUEST_METHOD"],
        route=route,
        raw_route=_raw_route(environ, provider_name, route),
        query=environ.get("QUERY_STRING", ""),
        headers=list(lower.items()),
        lower=lower,
        body=read_body(environ, settings.AIBRIDGE_MAX_BODY_BYTES),
        actor=actor,
        byok=byok,
        watch=ClientWatch(environ.get("gunicorn.socket")),
        peer=environ.get("REMOTE_ADDR", ""),
        scheme=environ.get("wsgi.url_scheme", "http"),
    )
    if dialect is None:
        return passthrough.forward(call, provider)
    if call.method != "POST":
        raise errors.RouteUnknown(f"route not supported: {call.method} /{route}")
    return Interceptor(call, provider, dialect).answer()


def client_headers(environ: dict[str, Any]) -> dict[str, str]:
    """Return the client's headers from a WSGI environ, names in lower case.

    Repeated headers come joined with commas, as WSGI servers do.
    """
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if kind := environ.get("CONTENT_TYPE"):
        headers["content-type"] = kind
    return headers


def _raw_route(environ: dict[str, Any], provider_name: str, route: str) -> str:
    """Return the route as the client escaped it, where the server tells."""
    path = environ.get("RAW_URI", "").partition("?")[0]
    _, found, raw = path.partition(f"/{provider_name}/")
    return raw if found else quote(route)


def _bridged(provider: Provider | None, route: str) -> Dialect | None:
    name = provider.spec.bridged.get(route) if provider else None
    return dialects.get(name) if name else None


def _envelope(provider: Provider | None) -> Dialect:
    return dialects.get(provider.spec.envelope if provider else _DEFAULT_ENVELOPE)


def _refuse_websocket(environ: dict[str, Any], lower: dict[str, str]) -> None:
    asked = [part.strip().lower() for part in lower.get("connection", "").split(",")]
    if (
        environ["REQUEST_METHOD"] == "GET"
        and "upgrade" in asked
        and lower.get("upgrade", "").lower() == "websocket"
    ):
        raise errors.WebSocketRefused("WebSocket transport is not supported, use HTTP")


def _usable(provider: Provider | None, name: str) -> Provider:
    if provider is None:
        raise errors.ProviderUnknown(f'AI provider "{name}" does not exist')
    if not provider.enabled:
        raise errors.ProviderUnavailable(
            f'provider_disabled: AI provider "{name}" is disabled'
        )
    if provider.error:
        raise errors.ProviderUnavailable(
            f'AI provider "{name}" cannot be used: {provider.error}'
        )
    return provider

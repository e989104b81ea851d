"""Forwards the listed routes of a kind untouched; nothing of them is recorded.

It knows paths and headers, walks keys through the one failover loop, and reads no body.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit

import httpx
from django.conf import settings
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from providers.keypool import Key
from providers.kinds import KindSpec
from providers.provider import Provider
from proxy import credentials, errors, exchanges, failover, metrics
from proxy.call import Call
from proxy.credentials import BYOK, Credential
from proxy.dump import Send, dumping, passthrough_path
from proxy.failover import Answer, Attempt, Outgoing, upstream_errors
from proxy.headers import HOP_BY_HOP, Headers, upstream_headers
from proxy.outgoing import extensions, upstream_url

_MOST_DECODINGS = 10
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What speaks about upstream's own origin or connection, not about this answer.
_NOT_RELAYED = HOP_BY_HOP | {
    "set-cookie",
    "set-cookie2",
    "alt-svc",
    "strict-transport-security",
    "clear-site-data",
    "report-to",
    "nel",
}


class BadPath(errors.GatewayError):
    """The path could climb out of the route it names."""

    status = 400
    error_type = "bad_request"


class InvalidBaseUrl(errors.GatewayError):
    """The provider's base URL cannot be joined with a path."""

    status = 502
    error_type = "server_error"


def forward(call: Call, provider: Provider) -> HttpResponseBase:
    """Send the call to upstream as it came and return the answer as it comes.

    Raises RouteUnknown, BadPath, InvalidBaseUrl and what the failover loop raises.
    """
    pattern = allowed(provider.spec, call.route)
    if has_traversal(call.raw_route):
        raise BadPath("invalid request path")
    if pattern is None:
        raise errors.RouteUnknown(f"route not supported: {call.method} /{call.route}")
    metrics.passthrough_total.labels(
        provider.name, provider.spec.upstream_path(pattern), call.method
    ).inc()
    return _exchange(call, provider, _outgoing(call, provider))


def allowed(spec: KindSpec, route: str) -> str | None:
    """Return the entry of the kind's list that allows a decoded route, or None.

    A route that upstream could read as a bridged one is not allowed, so that nothing
    gets past the record.
    """
    plain = "/".join(part for part in route.split("/") if part)
    if plain in spec.bridged:
        return None
    for pattern in spec.passthrough:
        if route == pattern or (pattern.endswith("/") and route.startswith(pattern)):
            return pattern
    return None


def has_traversal(raw_route: str) -> bool:
    """Say whether a path climbs after any number of decodings, or never settles."""
    for _ in range(_MOST_DECODINGS):
        if _climbs(raw_route):
            return True
        decoded = unquote(raw_route, errors="replace")
        if decoded == raw_route:
            return False
        raw_route = decoded
    return True


def _climbs(path: str) -> bool:
    segments = path.replace("\\", "/").split("/")
    dotted = any(part.partition(";")[0] in {".", ".."} for part in segments)
    return dotted or _CONTROL.search(path) is not None


def upstream_path(spec: KindSpec, route: str, raw_route: str) -> str:
    """Return the path to append to the base URL, escaped as the client escaped it."""
    if not raw_route.startswith(spec.route_prefix):
        # The prefix itself came escaped; it has to be recognised to be taken away.
        raw_route = quote(route)
    return spec.upstream_path(raw_route)


def check_base_url(base_url: str) -> None:
    """Raise InvalidBaseUrl when its path is not well escaped, once decoded or not."""
    path = urlsplit(base_url).path
    if _ESCAPE.search(path) or _ESCAPE.search(unquote(path)):
        raise InvalidBaseUrl("invalid provider base URL")


def _outgoing(call: Call, provider: Provider) -> Outgoing:
    check_base_url(provider.base_url)
    path = upstream_path(provider.spec, call.route, call.raw_route)
    url = upstream_url(provider.base_url, path, call.query)
    send: Send = failover.send
    if provider.api_dump:
        send = dumping(send, passthrough_path(provider, url.path))
    return Outgoing(
        call.method,
        url,
        request_headers(call),
        call.body,
        extensions(provider, call.watch, streaming=True),
        send,
    )


def request_headers(call: Call) -> Headers:
    """Return the client's headers for upstream, without a credential.

    Cookies stay behind: those a client has are of the gateway's own origin.
    """
    kept = upstream_headers(call.headers, auth=None)
    if "user-agent" not in call.lower:
        kept.append(("User-Agent", "aibridge"))
    return kept + _forwarded(call)


def _forwarded(call: Call) -> Headers:
    """Return X-Forwarded-*; no -For when the peer's address cannot be read."""
    told = [
        ("X-Forwarded-Host", call.lower.get("host", "")),
        ("X-Forwarded-Proto", call.scheme),
    ]
    try:
        peer = str(ipaddress.ip_address(call.peer))
    except ValueError:
        return told
    chain = [call.lower.get("x-forwarded-for", "").strip(), peer]
    return [("X-Forwarded-For", ", ".join(filter(None, chain))), *told]


class OwnHeaders:
    """The caller's own credential, left in the headers it came in; one attempt."""

    kind = BYOK
    secret = ""

    def __init__(self, headers: Headers, hint: str) -> None:
        self._headers = headers
        self.hint = hint

    def walk(self) -> Iterator[None]:
        yield None

    def headers(
        self, key: Key | None, method: str, url: str, body: bytes
    ) -> list[tuple[str, str]]:
        return self._headers


def resolve_credential(call: Call, provider: Provider) -> Credential:
    """Choose what authenticates a forwarded call; an own key is left as it came."""
    chosen = credentials.resolve(
        provider,
        call.lower,
        byok=call.byok,
        byok_allowed=settings.AIBRIDGE_ALLOW_BYOK,
    )
    if chosen.kind != BYOK:
        return chosen
    own = [
        (name.title(), call.lower[name])
        for name in provider.spec.byok_headers
        if name in call.lower
    ]
    return OwnHeaders(own, chosen.hint)


def _exchange(call: Call, provider: Provider, outgoing: Outgoing) -> HttpResponseBase:
    credential = resolve_credential(call, provider)
    exchange = exchanges.opened(call.watch)
    try:
        answer = failover.open_answer(outgoing, provider, credential, _unobserved)
    except (errors.UpstreamUnreachable, errors.UpstreamBroke) as error:
        exchange.close()
        raise type(error)(f"upstream proxy error: {error.message}") from error
    except BaseException:
        exchange.close()
        raise
    return _response(answer, exchange)


def _unobserved(attempt: Attempt) -> None:
    """Forwarded calls leave no record, so nobody asks for their attempts."""


def _response(answer: Answer, exchange: exchanges.Exchange) -> HttpResponseBase:
    response: HttpResponseBase
    if answer.body is not None:
        exchange.close()
        response = HttpResponse(answer.body, status=answer.status)
    else:
        forwarding = _Forwarding(answer, exchange)
        response = StreamingHttpResponse(forwarding, status=answer.status)
        response["X-Accel-Buffering"] = "no"
    del response["Content-Type"]
    for name, value in relayed_headers(answer.response.headers):
        response[name] = value
    return response


def relayed_headers(received: httpx.Headers) -> Headers:
    """Return upstream's headers for the client: all that speak about the answer."""
    dropped = set(_NOT_RELAYED)
    if "content-encoding" in received:
        # The body is relayed decoded, so its length is another one.
        dropped |= {"content-encoding", "content-length"}
    return [(name, value) for name, value in received.items() if name not in dropped]


class _Forwarding:
    """The bytes of an answer as they come; ``close`` is safe at any time."""

    def __init__(self, answer: Answer, exchange: exchanges.Exchange) -> None:
        self._answer = answer
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        # Silence stays silence: nothing may be added to a forwarded body.
        with upstream_errors():
            yield from filter(None, self._answer.chunks())

    def close(self) -> None:
        self._answer.close()
        self._exchange.close()

"""From what a client sent to what upstream is sent, but for the credential."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from providers.kinds import Kind
from providers.registry import Provider
from proxy import bedrock, errors, headers
from proxy.bedrock_stream import reading_frames
from proxy.call import Call
from proxy.dialects.base import BridgedRequest
from proxy.dialects.splice import NotAnObject
from proxy.dump import dumping
from proxy.failover import Outgoing, send
from proxy.watch import ClientWatch


def bridged(
    call: Call,
    provider: Provider,
    request: BridgedRequest,
    dump_base: Path | None = None,
) -> Outgoing:
    """Return the upstream request of a bridged call.

    ``dump_base`` is where its API dump goes, None for no dump.
    """
    asked = Outgoing(
        call.method,
        upstream_url(
            provider.base_url, provider.spec.upstream_path(call.route), call.query
        ),
        headers.upstream_headers(
            call.headers, auth=None, actor=actor_facts(call, provider)
        ),
        request.body,
        extensions(provider, call.watch, streaming=request.streaming),
        dumping(send, dump_base) if dump_base else send,
    )
    if provider.kind == Kind.BEDROCK:
        return _invoking_model(asked, provider, request)
    return asked


def _invoking_model(
    asked: Outgoing, provider: Provider, request: BridgedRequest
) -> Outgoing:
    """Return a Messages request as Bedrock's InvokeModel takes it."""
    flags = bedrock.beta_lines(asked.headers)
    try:
        body = bedrock.invoke_body(asked.body, request.parsed, request.model, flags)
    except NotAnObject as error:
        raise errors.BadBody("the request body is nested too deeply") from error
    return replace(
        asked,
        url=bedrock.invoke_url(
            bedrock.settings_of(provider), request.model, streaming=request.streaming
        ),
        headers=bedrock.invoke_headers(asked.headers),
        body=body,
        send=reading_frames(asked.send),
    )


def actor_facts(call: Call, provider: Provider) -> dict[str, Any] | None:
    """Return what upstream may know of the caller, None unless the provider asks."""
    if not provider.send_actor_headers:
        return None
    return {
        "id": str(call.actor.user_id),
        "metadata": {"Username": call.actor.username},
    }


@lru_cache(maxsize=1024)
def upstream_url(base_url: str, path: str, query: str) -> httpx.URL:
    """Return the URL to call; raises ProviderUnavailable for an unusable base URL."""
    try:
        url = httpx.URL(base_url.rstrip("/") + path)
    except httpx.InvalidURL as error:
        raise errors.ProviderUnavailable("invalid provider base URL") from error
    return url.copy_with(query=query.encode("latin-1")) if query else url


def extensions(
    provider: Provider, watch: ClientWatch, *, streaming: bool
) -> dict[str, Any]:
    """Return the transport's instructions: timeouts, heartbeat tick, disconnect."""
    idle = provider.idle_timeout if streaming else provider.total_timeout
    return {
        "timeout": {
            "connect": provider.connect_timeout,
            "tls": provider.tls_timeout,
            "read": idle,
            "write": idle,
        },
        "total": None if streaming else provider.total_timeout,
        "tick": settings.AIBRIDGE_HEARTBEAT_SECONDS if streaming else None,
        "on_socket": watch.on_gone,
    }

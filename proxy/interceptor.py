"""One bridged request from its body to its last byte.

The order is the guarantee (decisions D7): read, record the start, ask upstream, read a
copy of the answer, record the end, let the last byte go.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import httpx
from django.conf import settings
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from interceptions import recorder
from interceptions.errors import classify_status
from interceptions.recorder import Recording, RecordingUnavailable
from providers.registry import Provider
from proxy import clients, credentials, errors, exchanges, failover, headers
from proxy.actors import Actor
from proxy.credentials import Credential
from proxy.dialects.base import BadRequestBody, BridgedRequest, Dialect, StreamReader
from proxy.failover import Answer, Attempt, Outgoing
from proxy.relay import Relay
from proxy.watch import ClientWatch

_Response = TypeVar("_Response", bound=HttpResponseBase)
INTERCEPTION_HEADER = "X-AIBridge-Interception-Id"
_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@dataclass(slots=True)
class Call:
    """What a client sent.

    ``route`` is decoded, ``raw_route`` as the client escaped it; ``lower`` maps
    lower-case header names to values.
    """

    method: str
    route: str
    raw_route: str
    query: str
    headers: list[tuple[str, str]]
    lower: dict[str, str]
    body: bytes
    actor: Actor
    byok: bool
    watch: ClientWatch


class Interceptor:
    """Serves one call; made anew for each."""

    def __init__(self, call: Call, provider: Provider, dialect: Dialect) -> None:
        self._call = call
        self._provider = provider
        self._dialect = dialect
        self._attempts = 0
        self._turn = 0

    def answer(self) -> HttpResponseBase:
        """Return the response; raises GatewayError only before the record began."""
        call = self._call
        request = self._read()
        credential = credentials.resolve(
            self._provider,
            call.lower,
            byok=call.byok,
            byok_allowed=settings.AIBRIDGE_ALLOW_BYOK,
        )
        recording = self._begin(request, credential)
        response = self._serve(request, credential, recording)
        response[INTERCEPTION_HEADER] = str(recording.id)
        return response

    def _read(self) -> BridgedRequest:
        try:
            return self._dialect.read_request(self._call.body)
        except BadRequestBody as error:
            raise errors.BadBody(str(error)) from error

    def _begin(self, request: BridgedRequest, credential: Credential) -> Recording:
        try:
            return recorder.start(self._facts(request, credential))
        except RecordingUnavailable as error:
            raise errors.RecordUnavailable(
                "the request could not be recorded and was not sent"
            ) from error

    def _facts(self, request: BridgedRequest, credential: Credential) -> recorder.Start:
        call, provider = self._call, self._provider
        client = clients.detect_client(call.lower)
        return recorder.Start(
            initiator_id=call.actor.user_id,
            token_id=call.actor.token_id,
            provider_id=provider.id,
            provider_name=provider.name,
            provider_kind=provider.kind,
            dialect=self._dialect.name,
            route=call.route,
            model=request.model,
            streaming=request.streaming,
            client=client,
            user_agent=call.lower.get("user-agent", ""),
            client_session_id=clients.detect_session_id(
                client, call.lower, request.parsed
            ),
            correlating_tool_call_id=request.correlating_tool_call_id,
            credential_kind=credential.kind,
            credential_hint=credential.hint,
            prompt=request.prompt,
            metadata={},
        )

    def _serve(
        self, request: BridgedRequest, credential: Credential, recording: Recording
    ) -> HttpResponseBase:
        """Ask upstream and answer; the record is ended on every way out."""
        watch = self._call.watch
        exchange = exchanges.opened(watch)
        relaying = False
        try:
            answer = failover.open_answer(
                self._outgoing(request),
                self._provider,
                credential,
                lambda attempt: self._observe(recording, attempt),
            )
            recording.first_byte()
            if not _is_stream(answer, request):
                return self._whole(answer, recording, credential)
            response = self._streamed(answer, recording, credential, exchange)
            relaying = True
            return response
        except errors.GatewayError as error:
            self._fail(recording, credential, error)
            return errors.render(error, self._dialect)
        finally:
            if not relaying:
                exchange.close()
                # The first end wins: this one is for what no clause above foresaw.
                recording.end(status_code=None, cancelled=True)

    def _outgoing(self, request: BridgedRequest) -> Outgoing:
        call, provider = self._call, self._provider
        actor = call.actor if provider.send_actor_headers else None
        return Outgoing(
            call.method,
            upstream_url(
                provider.base_url, provider.spec.upstream_path(call.route), call.query
            ),
            headers.upstream_headers(
                call.headers,
                auth=None,
                actor=actor and {"id": str(actor.user_id), "Username": actor.username},
            ),
            request.body,
            extensions(provider, call.watch, streaming=request.streaming),
        )

    def _observe(self, recording: Recording, attempt: Attempt) -> None:
        if self._call.watch.gone and attempt.status is None:
            attempt.outcome = "cancelled"
        self._attempts += 1
        key = attempt.key
        recording.attempt(
            turn=self._turn,
            key_id=key.id if key else None,
            key_hint=attempt.hint,
            status=attempt.status,
            outcome=attempt.outcome,
            retry_after=attempt.retry_after,
            cooldown=attempt.cooldown,
            upstream_request_id=attempt.upstream_request_id,
            detail=attempt.detail,
            started_at=attempt.started_at,
            headers_ms=attempt.headers_ms,
        )

    def _whole(
        self, answer: Answer, recording: Recording, credential: Credential
    ) -> HttpResponse:
        """Return an answer that is read whole, committed before it is sent."""
        body = answer.body
        if body is None:
            body = failover.read_body(
                answer.response, limit=settings.AIBRIDGE_MAX_ANSWER_BYTES
            )
        error = None
        if answer.status >= 400:
            error = self._upstream_error(answer.status, body)
        else:
            turn = self._dialect.read_answer(body)
            recording.turn(turn)
            if turn.error is not None:
                error = (turn.error.error_type, turn.error.message)
        recording.end(
            status_code=answer.status, error=error, credential_hint=credential.hint
        )
        return _relayed(HttpResponse(body, status=answer.status), answer)

    def _upstream_error(self, status: int, body: bytes) -> tuple[str, str]:
        kind, _, message = self._dialect.read_error(body)
        error_type = classify_status(
            self._provider.kind, status, anthropic_shape=kind.endswith("_error")
        )
        return error_type, message or f"upstream answered {status}"

    def _streamed(
        self,
        answer: Answer,
        recording: Recording,
        credential: Credential,
        exchange: exchanges.Exchange,
    ) -> StreamingHttpResponse:
        reader = self._dialect.stream_reader()
        relay = Relay(
            answer,
            reader,
            self._dialect,
            settle=lambda error: self._settle(
                recording, credential, reader, exchange, error, relay.started
            ),
            is_gone=lambda: self._call.watch.gone,
        )
        relay.open()
        response = StreamingHttpResponse(relay, status=answer.status)
        response.relay = relay  # type: ignore[attr-defined]
        response.headers.update(_STREAM_HEADERS)
        return _relayed(response, answer)

    def _settle(
        self,
        recording: Recording,
        credential: Credential,
        reader: StreamReader,
        exchange: exchanges.Exchange,
        error: errors.GatewayError | None,
        started: bool,
    ) -> None:
        """Commit what is known of a stream, however it ended."""
        ended = reader.ended
        turn = reader.finish(clean=error is None)
        recording.turn(turn)
        if exchange.was_cut and not ended:
            error = errors.UpstreamBroke("the gateway was shut down")
        if error is not None:
            self._fail(recording, credential, error, 200 if started else None)
        elif ended or reader.complete:
            failed = turn.error and (turn.error.error_type, turn.error.message)
            recording.end(
                status_code=200, error=failed, credential_hint=credential.hint
            )
        else:
            recording.end(
                status_code=200, cancelled=True, credential_hint=credential.hint
            )
        exchange.close()

    def _fail(
        self,
        recording: Recording,
        credential: Credential,
        error: errors.GatewayError,
        status: int | None = None,
    ) -> None:
        if self._call.watch.gone:
            recording.end(
                status_code=None, cancelled=True, credential_hint=credential.hint
            )
            return
        recording.end(
            status_code=status or error.status,
            error=(error.error_type, error.message),
            credential_hint=credential.hint,
        )


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
            "pool": None,
        },
        "total": None if streaming else provider.total_timeout,
        "tick": settings.AIBRIDGE_HEARTBEAT_SECONDS if streaming else None,
        "on_socket": watch.on_gone,
    }


def _is_stream(answer: Answer, request: BridgedRequest) -> bool:
    if answer.body is not None:
        return False
    kind = answer.response.headers.get("content-type", "")
    if kind.startswith("text/event-stream"):
        return True
    return request.streaming and not kind.startswith("application/json")


def _relayed(response: _Response, answer: Answer) -> _Response:
    for name, value in headers.relayed_response_headers(answer.response.headers):
        response[name] = value
    return response

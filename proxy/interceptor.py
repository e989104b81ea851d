"""One bridged request from its body to its last byte.

The order is the guarantee (decisions D7): read, record the start, ask upstream, read a
copy of the answer, record the end, let the last byte go.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from interceptions import recorder
from interceptions.errors import classify_status
from interceptions.recorder import Recording, RecordingUnavailable
from providers.kinds import Kind
from providers.masking import scrub
from providers.registry import Provider
from proxy import (
    bedrock,
    catalogue,
    circuits,
    clients,
    credentials,
    dump,
    errors,
    exchanges,
    failover,
    headers,
    metrics,
    outgoing,
    tools,
)
from proxy.call import Call
from proxy.credentials import Credential
from proxy.dialects.base import (
    BadRequestBody,
    BridgedRequest,
    Dialect,
    StreamReader,
    Turn,
)
from proxy.dialects.tooling import Output
from proxy.failover import Answer, Attempt
from proxy.relay import Relay
from proxy.turns import ToolTurns, read_answer, read_body
from proxy.woven import WovenRelay

_Response = TypeVar("_Response", bound=HttpResponseBase)

INTERCEPTION_HEADER = "X-AIBridge-Interception-Id"
_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Interceptor:
    """Serves one call. Making one reads the request and commits its record.

    Raises BadBody, Forbidden, Unauthorized or RecordUnavailable; nothing was sent and,
    but for the last, nothing is to be recorded then. ``answer`` must follow.
    """

    def __init__(self, call: Call, provider: Provider, dialect: Dialect) -> None:
        self._call = call
        self._provider = provider
        self._dialect = dialect
        self._tried = 0
        self._turns: ToolTurns | None = None
        self._request: BridgedRequest = self._read()
        self._credential: Credential = credentials.resolve(
            provider,
            call.lower,
            byok=call.byok,
            byok_allowed=settings.AIBRIDGE_ALLOW_BYOK,
        )
        self._recording: Recording = self._begin()
        self._dump_base = self._new_dump_base()
        self._exchange = exchanges.opened(call.watch)
        self._meter = metrics.Meter(
            provider.name, self._request.model, call.route, self._client
        )
        if self._request.prompt:
            self._meter.prompt()

    def answer(self) -> HttpResponseBase:
        """Return the response; the record is ended on every way out."""
        response: HttpResponseBase | None = None
        try:
            response = self._guarded()
        except errors.GatewayError as error:
            self._fail(error, error.status)
            response = errors.render(error, self._dialect)
        finally:
            if not isinstance(response, StreamingHttpResponse):
                # Only the first end counts: this one is for what nobody foresaw.
                self._end(None, cancelled=True)
        response[INTERCEPTION_HEADER] = str(self._recording.id)
        return response

    def _read(self) -> BridgedRequest:
        try:
            request = self._dialect.read_request(self._call.body)
        except BadRequestBody as error:
            raise errors.BadBody(str(error)) from error
        if self._provider.kind == Kind.BEDROCK:
            bedrock.map_model(request, self._provider)
        self._client = clients.detect_client(self._call.lower)
        return request

    def _begin(self) -> Recording:
        try:
            return recorder.start(self._facts())
        except RecordingUnavailable as error:
            raise errors.RecordUnavailable(
                "the request could not be recorded and was not sent"
            ) from error

    def _facts(self) -> recorder.Start:
        call, provider, request = self._call, self._provider, self._request
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
            client=self._client,
            user_agent=call.lower.get("user-agent", ""),
            client_session_id=clients.detect_session_id(
                self._client, call.lower, request.parsed
            ),
            correlating_tool_call_id=request.correlating_tool_call_id,
            credential_kind=self._credential.kind,
            credential_hint=self._credential.hint,
            prompt=request.prompt,
            metadata={},
        )

    def _new_dump_base(self) -> Path | None:
        if not self._provider.api_dump:
            return None
        return dump.interception_path(
            self._provider, self._request.model, self._recording.id
        )

    def _guarded(self) -> HttpResponseBase:
        """Ask upstream unless a breaker is open; tell it the status that came out."""
        admission = circuits.admit(
            self._provider, self._call.route, self._request.model
        )
        status: int | None = None
        try:
            response = self._ask()
            status = response.status_code
            return response
        except errors.GatewayError as error:
            status = error.status
            raise
        finally:
            admission.report(status)

    def _ask(self) -> HttpResponseBase:
        if self._request.background:
            raise errors.BackgroundRefused(
                "background requests are currently not supported by AI Bridge"
            )
        self._turns = self._tool_turns()
        answer = self._open_answer()
        self._recording.first_byte()
        if _is_stream(answer, self._request):
            return self._streamed(answer)
        return self._whole(answer)

    def _open_answer(self) -> Answer:
        """Ask upstream for the current turn, walking the keys anew."""
        request = self._request
        if self._turns is not None:
            request = replace(request, body=self._turns.loop.body)
        return failover.open_answer(
            outgoing.bridged(self._call, self._provider, request, self._dump_base),
            self._provider,
            self._credential,
            self._observe,
        )

    def _tool_turns(self) -> ToolTurns | None:
        """Return what runs the injected tools, None when there are none."""
        loop = tools.prepare(
            self._dialect, self._request, catalogue.catalogue.current()
        )
        if loop is None:
            return None
        return ToolTurns(
            loop,
            self._dialect,
            self._recording,
            self._meter,
            self._call.watch,
            ask=self._open_answer,
            take=self._take,
            describe=self._upstream_error,
        )

    def _observe(self, attempt: Attempt) -> None:
        if self._call.watch.gone and attempt.status is None:
            attempt.outcome = "cancelled"
        self._tried += 1
        key = attempt.key
        self._recording.attempt(
            turn=self._turns.loop.turn if self._turns else 0,
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

    def _whole(self, answer: Answer) -> HttpResponse:
        """Return an answer that is read whole, committed before it is sent."""
        if self._turns is not None:
            answer, body, turn = self._turns.read_whole(answer)
        else:
            body = read_body(answer)
            turn = Turn()
            if answer.status < 400:
                turn = read_answer(self._dialect, body)
        if answer.status >= 400:
            self._end(answer.status, error=self._upstream_error(answer.status, body))
        else:
            self._finish_turn(turn, answer.status)
        return _relayed(HttpResponse(body, status=answer.status), answer)

    def _upstream_error(self, status: int, body: bytes) -> tuple[str, str]:
        kind, _, message = self._dialect.read_error(body)
        return (
            classify_status(self._provider.kind, status, error_kind=kind),
            message or f"upstream answered {status}",
        )

    def _streamed(self, answer: Answer) -> StreamingHttpResponse:
        relay = self._relay(answer)
        relay.open()
        response = StreamingHttpResponse(relay, status=answer.status)
        response.relay = relay  # type: ignore[attr-defined]
        for name, value in _STREAM_HEADERS.items():
            response[name] = value
        return _relayed(response, answer)

    def _relay(self, answer: Answer) -> Relay:
        if self._turns is not None:
            return self._woven_relay(answer, self._turns)
        reader = self._dialect.stream_reader()
        relay = Relay(
            answer,
            reader,
            self._dialect,
            settle=lambda error: self._settle(reader, error, started=relay.started),
            is_gone=lambda: self._call.watch.gone,
        )
        return relay

    def _woven_relay(self, answer: Answer, turns: ToolTurns) -> Relay:
        def settle(error: errors.GatewayError | None) -> None:
            self._settle(
                relay.reader,
                error,
                started=relay.started,
                output=relay.weaver.output,
            )

        relay = WovenRelay(
            answer,
            self._dialect,
            turns.loop.weaver(str(self._recording.id)),
            turns,
            settle=settle,
            is_gone=lambda: self._call.watch.gone,
        )
        return relay

    def _settle(
        self,
        reader: StreamReader | None,
        error: errors.GatewayError | None,
        *,
        started: bool,
        output: Output | None = None,
    ) -> None:
        """Commit what is known of a stream, however it ended.

        ``reader`` is None when it ended between two turns; ``output`` is what the
        model said where the gateway may run tools.
        """
        if reader is not None:
            ended = reader.ended
            # A body that ended properly was finished by the relay: this one was left.
            turn = reader.finish(clean=False)
            if self._turns is not None:
                self._turns.final = output
            if ended or reader.complete:
                self._finish_turn(turn, 200)
                return
            self._take(turn)
        if self._exchange.was_cut:
            error = errors.UpstreamBroke("the gateway was shut down")
        if error is None:
            self._end(200, cancelled=True)
        else:
            self._fail(error, 200 if started else error.status)

    def _finish_turn(self, turn: Turn, status: int) -> None:
        self._take(turn)
        error = turn.error
        self._end(status, error=(error.error_type, error.message) if error else None)

    def _take(self, turn: Turn) -> None:
        self._recording.turn(turn)
        if self._turns is not None:
            turn = self._turns.own_part(turn)
        self._meter.turn(turn)

    def _fail(self, error: errors.GatewayError, status: int) -> None:
        if self._call.watch.gone:
            self._end(None, cancelled=True)
        else:
            self._end(status, error=(error.error_type, error.message))

    def _end(
        self,
        status: int | None,
        *,
        error: tuple[str, str] | None = None,
        cancelled: bool = False,
    ) -> None:
        """Commit the record's end; only the first call has an effect.

        Upstreams repeat keys in their messages; the caller's own is masked here.
        """
        if error is not None:
            error = error[0], scrub(error[1], (self._credential.secret,))
        self._recording.end(
            status_code=status,
            error=error,
            cancelled=cancelled,
            credential_hint=self._credential.hint,
        )
        self._exchange.close()
        self._meter.end(
            error_type=error[0] if error else "",
            cancelled=cancelled,
            attempts=self._tried,
        )


def _is_stream(answer: Answer, request: BridgedRequest) -> bool:
    if answer.body is not None:
        return False
    kind = answer.response.headers.get("content-type", "")
    if kind.startswith("text/event-stream"):
        return True
    return request.streaming and not kind.startswith("application/json")


def _relayed(response: _Response, answer: Answer) -> _Response:
    pairs = answer.response.headers.multi_items()
    for name, value in headers.relayed_response_headers(pairs):
        response[name] = value
    return response

"""THE key-failover loop: for all dialects, both modes, and passthrough.

Rule 1: status and headers decide; of an error the body too, which is read then and
        handed on with the answer.
Rule 2: the next key is tried only after a failure of the key itself. Every other
        answer, and every transport error, is final: the same request is never sent
        twice with one key.
Rule 3: each turn walks the pool anew; marks make the walk skip what is out of service.
Rule 4: what was tried is reported, key by key, whatever comes of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from providers import keystate
from providers.keypool import Key, KeyPoolExhausted
from providers.masking import scrub
from providers.registry import Provider
from proxy import classifier, errors, metrics, upstream
from proxy.classifier import Verdict
from proxy.credentials import Credential
from proxy.decoding import decoded
from proxy.dialects.faults import read_error

_ERROR_BODY_LIMIT = 4 * 1024 * 1024


def send(request: httpx.Request) -> httpx.Response:
    """Send a request through this process's transport."""
    return upstream.get_transport().handle_request(request)


@dataclass(slots=True)
class Outgoing:
    """A request to upstream, complete but for what authenticates it.

    ``extensions`` are httpx request extensions (timeouts, tick, on_socket). ``send``
    may wrap the transport: to write a dump, or to read another framing.
    """

    method: str
    url: httpx.URL
    headers: list[tuple[str, str]]
    body: bytes
    extensions: dict[str, Any] = field(default_factory=dict)
    send: Callable[[httpx.Request], httpx.Response] = send


@dataclass(slots=True)
class Attempt:
    """One key's try, as the record tells it; ``headers_ms`` until the headers came."""

    key: Key | None
    hint: str
    started_at: datetime
    outcome: str = ""
    status: int | None = None
    retry_after: float | None = None
    cooldown: float | None = None
    upstream_request_id: str = ""
    detail: str = ""
    headers_ms: int | None = None


@dataclass(slots=True)
class Answer:
    """Upstream's final answer; ``body`` is set when it was read whole already."""

    response: httpx.Response
    verdict: Verdict
    body: bytes | None = None

    @property
    def status(self) -> int:
        return self.response.status_code

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes; b"" marks a tick of silence."""
        if self.body is not None:
            return iter((self.body,))
        return decoded(self.response)

    def close(self) -> None:
        self.response.close()


def open_answer(
    outgoing: Outgoing,
    provider: Provider,
    credential: Credential,
    observe: Callable[[Attempt], None],
) -> Answer:
    """Try the credential's keys until an answer is final for the client.

    Raises KeysRateLimited, KeysUnauthorized, UpstreamTimedOut, UpstreamUnreachable or
    UpstreamBroke.
    """
    try:
        for key in credential.walk():
            answer = _try_key(key, outgoing, provider, credential, observe)
            if answer is not None:
                return answer
    except KeyPoolExhausted as exhausted:
        raise _exhausted(provider, exhausted) from exhausted
    raise errors.KeysUnauthorized("all configured keys failed authentication")


def _exhausted(provider: Provider, exhausted: KeyPoolExhausted) -> errors.GatewayError:
    metrics.key_pool_exhaustions_total.labels(
        provider.name, "auth_failed" if exhausted.permanent else "rate_limited"
    ).inc()
    if exhausted.permanent:
        return errors.KeysUnauthorized(str(exhausted))
    return errors.KeysRateLimited(str(exhausted), exhausted.retry_after)


def _try_key(
    key: Key | None,
    outgoing: Outgoing,
    provider: Provider,
    credential: Credential,
    observe: Callable[[Attempt], None],
) -> Answer | None:
    """Return the answer this key got, or None when the next key is to be tried."""
    attempt = Attempt(key, credential.hint, datetime.now(UTC))
    attempt.outcome = "cancelled"
    try:
        answer = _exchange(key, outgoing, provider, credential, attempt)
        if key is not None and answer.verdict.mark != "none":
            _mark(key, provider, answer, attempt)
    except errors.GatewayError as error:
        attempt.outcome = _OUTCOMES.get(type(error), "unreachable")
        attempt.detail = error.message[:255]
        raise
    finally:
        observe(attempt)
    if key is not None and answer.verdict.failover:
        answer.close()
        return None
    return answer


_OUTCOMES = {
    errors.UpstreamTimedOut: "timeout",
    errors.UpstreamUnreachable: "unreachable",
    errors.UpstreamBroke: "server_error",
}


def _exchange(
    key: Key | None,
    outgoing: Outgoing,
    provider: Provider,
    credential: Credential,
    attempt: Attempt,
) -> Answer:
    auth = credential.headers(key, outgoing.method, str(outgoing.url), outgoing.body)
    started = time.perf_counter()
    with upstream_errors():
        request = upstream.new_request(
            outgoing.method,
            outgoing.url,
            [*outgoing.headers, *auth],
            outgoing.body,
            outgoing.extensions,
        )
        response = outgoing.send(request)
    attempt.headers_ms = int((time.perf_counter() - started) * 1000)
    answer = _classify(response, provider, is_pooled=key is not None)
    _describe(attempt, answer)
    if key is not None:
        keystate.touch(key)
    return answer


def _classify(
    response: httpx.Response, provider: Provider, *, is_pooled: bool
) -> Answer:
    """Return the answer with its verdict; an error's body is read for it.

    A key whose failure shows in the status is not spared because the body was cut; the
    cut counts when the answer is the client's.
    """
    if response.status_code < 400:
        return Answer(response, _verdict(response, provider, b""))
    try:
        body = read_body(response)
    except errors.GatewayError:
        verdict = _verdict(response, provider, b"")
        if not (is_pooled and verdict.failover):
            raise
        return Answer(response, verdict, b"")
    return Answer(response, _verdict(response, provider, body), body)


def _verdict(response: httpx.Response, provider: Provider, body: bytes) -> Verdict:
    return classifier.classify(
        provider.kind,
        provider.policy,
        response.status_code,
        response.headers,
        body,
        default_cooldown=provider.default_cooldown,
        quota_cooldown=provider.quota_cooldown,
        max_cooldown=provider.max_cooldown,
        now=time.time(),
    )


def _describe(attempt: Attempt, answer: Answer) -> None:
    headers = answer.response.headers
    attempt.status = answer.status
    attempt.outcome = answer.verdict.outcome
    attempt.retry_after = answer.verdict.retry_after or None
    attempt.upstream_request_id = (
        headers.get("request-id") or headers.get("x-request-id") or ""
    )[:128]


def _mark(key: Key, provider: Provider, answer: Answer, attempt: Attempt) -> None:
    """Put the key out of service, here at once and everywhere soon."""
    verdict = answer.verdict
    said = scrub(read_error(answer.body or b"")[2], (key.value,))[:255]
    facts: dict[str, Any] = {"status": answer.status, "error": said}
    if verdict.mark == "permanent":
        marked = keystate.report_permanent(
            provider, key, reason=verdict.reason, **facts
        )
    else:
        attempt.cooldown = verdict.cooldown
        marked = keystate.report_temporary(
            provider, key, cooldown=verdict.cooldown, reason=verdict.reason, **facts
        )
    if marked:
        metrics.key_pool_state_transitions_total.labels(
            provider.name, verdict.reason
        ).inc()


def read_body(response: httpx.Response, limit: int = _ERROR_BODY_LIMIT) -> bytes:
    """Read an answer's whole body and close it; raises like ``open_answer``.

    Decodes a content encoding that upstream used although identity was asked for.
    """
    parts: list[bytes] = []
    size = 0
    try:
        with upstream_errors():
            for chunk in decoded(response):
                size += len(chunk)
                if size > limit:
                    raise errors.UpstreamBroke("upstream's answer is too large")
                parts.append(chunk)
    finally:
        response.close()
    return b"".join(parts)


@contextmanager
def upstream_errors() -> Iterator[None]:
    """Turn what the transport raises into what the client is told."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise errors.UpstreamTimedOut("upstream did not accept in time") from error
    except httpx.TimeoutException as error:
        raise errors.UpstreamTimedOut("upstream did not answer in time") from error
    except httpx.ConnectError as error:
        raise errors.UpstreamUnreachable(
            f"upstream is not reachable: {error}"
        ) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise errors.UpstreamBroke(f"upstream broke off: {error}") from error

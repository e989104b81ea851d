"""The faults an upstream, a network or a client can have, and what must come of each.

Numbers are those of docs/faults.md. A row says what upstream does to a request with the
provider's first key, and what client, record and key show when there is no other key.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.answers import Answer
from tests.certificates import server_context, write_certificate
from tests.live import broken, callers
from tests.live.apis import Api
from tests.live.broken import Breaks, says
from tests.live.callers import Caller
from tests.postgres import free_port
from tests.upstream import FakeUpstream

SAME, ENVELOPE, CUT, SOME, PART = "same", "envelope", "cut", "some", "part"
"""What a client gets: upstream's bytes, the gateway's own error, all (or some) whole
events and then the gateway's error event, or what had come when it left."""

Reach = Callable[[FakeUpstream], AbstractContextManager[str]]
"""Gives the base URL under which the provider is configured."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What client, record and key show.

    ``status`` is what the client gets, None when it left before. ``attempt`` is the
    outcome of the first key's try ("" when it depends on timing) and ``key`` its state
    afterwards; after a key that is not valid any more the next is tried. ``cooldown``
    and ``retry_after`` are seconds. ``usage`` is (input, output), None when nothing was
    known. ``sdk`` names what the official SDK raises, "" when it returns ``text``.
    """

    status: int | None = 200
    body: str = SAME
    error_type: str | None = None
    cancelled: bool = False
    attempt: str = "accepted"
    key: str = "valid"
    cooldown: float | None = None
    retry_after: int | None = None
    usage: tuple[int, int] | None = (12, 34)
    beats: bool = False
    sdk: str = ""
    text: str = broken.TEXT


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row. ``but`` changes ``expected`` for an API, a mode, or "api mode".

    ``modes`` are those in which the fault can happen. ``patient`` is False for a node
    whose heartbeat comes after 0.2 s. ``second`` is what the next key gets, when that
    is no good answer either.
    """

    number: int
    name: str
    answer: Breaks | None = None
    expected: Expected
    but: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    modes: tuple[str, ...] = ("blocking", "streaming")
    provider: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    reach: Reach = lambda upstream: nullcontext(upstream.url)
    caller: Caller = callers.reads_all
    second: Breaks | None = None
    patient: bool = True

    @property
    def is_for_sdks(self) -> bool:
        return self.caller is callers.reads_all

    def expect(self, api: Api, mode: str) -> Expected:
        expected = self.expected
        for name in (api.name, mode, f"{api.name} {mode}"):
            expected = replace(expected, **self.but.get(name, {}))
        return expected


# Where there is nobody to answer


@contextmanager
def nobody_listens(_: FakeUpstream) -> Iterator[str]:
    yield f"http://127.0.0.1:{free_port()}"


@contextmanager
def nobody_accepts(_: FakeUpstream) -> Iterator[str]:
    """Give the address of a listener whose queue is full: the kernel drops the rest."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queue = [socket.socket() for _ in range(4)]
        for waiting in queue:
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for waiting in queue:
            waiting.close()


def no_such_name(_: FakeUpstream) -> AbstractContextManager[str]:
    return nullcontext("http://upstream.invalid")


@contextmanager
def plain_where_tls_is_asked(_: FakeUpstream) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_plainly, args=(listener,), daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


def _answer_plainly(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            sock, _ = listener.accept()
            with sock:
                sock.recv(4096)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@contextmanager
def unknown_certificate(_: FakeUpstream) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        context = server_context(write_certificate(Path(folder)))
        with FakeUpstream(tls=context) as upstream:
            yield upstream.url


# Expectations that several rows share

_RESTS = Expected(
    status=429,
    body=ENVELOPE,
    error_type="rate_limited",
    attempt="rate_limited",
    key="temporary",
    usage=None,
    sdk="RateLimitError",
)
_QUOTA = replace(_RESTS, attempt="quota", cooldown=600)
_RETIRED = replace(
    _RESTS,
    status=502,
    error_type="unauthorized",
    attempt="unauthorized",
    key="permanent",
    sdk="APIStatusError",
)
_CUT = Expected(body=CUT, error_type="server_error", usage=None, sdk="APIError")
_SILENT = replace(_CUT, error_type="timeout", beats=True)
_TOO_LATE = {"status": 504, "error_type": "timeout", "beats": False}
_COMPLETED = Expected()
_STARTED = {"messages streaming": {"usage": (12, 1)}}
"""Messages counts the input, and one token of output, when it starts."""
_NOT_WHOLE = {
    "status": 502,
    "body": ENVELOPE,
    "error_type": "server_error",
    "usage": None,
    "sdk": "APIStatusError",
}
_LEFT = Expected(status=None, body=PART, cancelled=True, attempt="", usage=None)
_OWN_ERRORS = {
    "messages": {"error_type": "overloaded"},
    "responses": {"error_type": "rate_limited", "sdk": "RuntimeError"},
}
"""The SDK does not raise on the flat error of the Responses API by itself."""


def _passed(status: int, error_type: str, attempt: str = "rejected") -> Expected:
    return Expected(
        status=status,
        error_type=error_type,
        attempt=attempt,
        usage=None,
        sdk="APIStatusError",
    )


def _as(expected: Expected) -> dict[str, Any]:
    return {name: getattr(expected, name) for name in expected.__dataclass_fields__}


def _lost(attempt: str, status: int = 502, error_type: str = "server_error"):
    return replace(_passed(status, error_type, attempt), body=ENVELOPE)


_STREAMS = ("streaming",)
_HASTY = {"total_timeout": 0.5, "idle_timeout": 0.5}
_GOOGLE = {"chat": "google", "responses": "google"}
_BAD_KEY = "API key not valid. Please pass a valid API key."
_NO_CREDIT = "Your credit balance is too low to access the Anthropic API."


# fmt: off
FAULTS = (
    Fault(number=1, name="429 with retry-after-ms",
          answer=says(429, "rate_limit_error", retry_after_ms="30500"),
          expected=replace(_RESTS, cooldown=30.5, retry_after=31)),
    Fault(number=2, name="429 with Retry-After in seconds",
          answer=says(429, "rate_limit_error", retry_after="20"),
          expected=replace(_RESTS, cooldown=20, retry_after=20)),
    Fault(number=3, name="429 with Retry-After as a date",
          answer=broken.limited_until_a_date,
          expected=replace(_RESTS, cooldown=30, retry_after=30)),
    Fault(number=4, name="429 without a header",
          answer=says(429, "rate_limit_error"),
          expected=replace(_RESTS, cooldown=60, retry_after=60)),
    Fault(number=5, name="429 insufficient_quota",
          answer=says(429, "insufficient_quota"), expected=_QUOTA),
    Fault(number=6, name="401",
          answer=says(401, "authentication_error"), expected=_RETIRED),
    Fault(number=7, name="402",
          answer=says(402, "billing_error"), expected=_passed(402, "unknown"),
          but={"messages": _as(_QUOTA)}),
    Fault(number=8, name="403 on a model, where 403 is the caller's",
          answer=says(403, "permission_error"),
          provider={"auth_failure_policy": "cooldown"},
          expected=_passed(403, "unauthorized", "forbidden")),
    Fault(number=9, name="403 account disabled",
          answer=says(403, "permission_error"),
          expected=replace(_RETIRED, attempt="forbidden")),
    Fault(number=10, name="400 that means a bad key (Gemini)",
          answer=says(400, "invalid_request_error", _BAD_KEY), kinds=_GOOGLE,
          expected=_RETIRED, but={"messages": _as(_passed(400, "bad_request"))}),
    Fault(number=11, name="400 that means no credit (Anthropic)",
          answer=says(400, "invalid_request_error", _NO_CREDIT),
          expected=_passed(400, "bad_request"), but={"messages": _as(_QUOTA)}),
    Fault(number=12, name="404 retired model",
          answer=says(404, "not_found_error"), expected=_passed(404, "bad_request")),
    Fault(number=13, name="413",
          answer=says(413, "request_too_large"), expected=_passed(413, "bad_request")),
    Fault(number=14, name="500", answer=says(500, "api_error"),
          expected=_passed(500, "server_error", "server_error")),
    Fault(number=15, name="503 with Retry-After",
          answer=says(503, "service_unavailable", retry_after="7"),
          expected=replace(_passed(503, "overloaded", "overloaded"), retry_after=7),
          but={"messages": {"error_type": "server_error"}}),
    Fault(number=16, name="529 overloaded", answer=says(529, "overloaded_error"),
          expected=_passed(529, "server_error", "overloaded"),
          but={"messages": {"error_type": "overloaded"}}),
    Fault(number=17, name="DNS failure", reach=no_such_name,
          expected=_lost("unreachable")),
    Fault(number=18, name="TCP refused", reach=nobody_listens,
          expected=_lost("unreachable")),
    Fault(number=19, name="TLS error", reach=plain_where_tls_is_asked,
          expected=_lost("unreachable")),
    Fault(number=19, name="certificate that nobody signed", reach=unknown_certificate,
          expected=_lost("unreachable")),
    Fault(number=20, name="connect hang", reach=nobody_accepts,
          provider={"connect_timeout": 0.4},
          expected=_lost("timeout", 504, "timeout")),
    Fault(number=21, name="headers never arrive",
          answer=lambda request: Answer(hang=True), provider=_HASTY,
          expected=_lost("timeout", 504, "timeout")),
    Fault(number=22, name="200, then silence",
          answer=broken.silent_from_the_start, provider=_HASTY, patient=False,
          expected=_SILENT, but={"blocking": _NOT_WHOLE | _TOO_LATE}),
    Fault(number=22, name="200, a token, then silence",
          answer=broken.silent_after_the_first_token, provider=_HASTY, patient=False,
          expected=_SILENT, but=_STARTED | {"blocking": _NOT_WHOLE | _TOO_LATE}),
    Fault(number=23, name="cut after 40 of 60 tokens",
          answer=broken.after_forty_of_sixty_tokens,
          expected=_CUT, but=_STARTED | {"blocking": _NOT_WHOLE}),
    Fault(number=23, name="reset after 40 of 60 tokens",
          answer=broken.reset_after_forty_of_sixty_tokens,
          expected=_CUT, but=_STARTED | {"blocking": _NOT_WHOLE}),
    Fault(number=24, name="cut inside a UTF-8 character",
          answer=broken.inside_a_character,
          expected=_CUT, but=_STARTED | {"blocking": _NOT_WHOLE}),
    Fault(number=25, name="cut inside a line of an event", modes=_STREAMS,
          answer=broken.inside_a_line, expected=_CUT, but=_STARTED),
    Fault(number=25, name="no event at all, or no body", answer=broken.empty,
          expected=replace(_CUT, **_NOT_WHOLE)),
    Fault(number=26, name="malformed JSON",
          answer=broken.with_a_malformed_event,
          expected=replace(_COMPLETED, sdk="JSONDecodeError"),
          but={"blocking": _NOT_WHOLE}),
    Fault(number=27, name="error event first", modes=_STREAMS,
          answer=broken.error_first, but=_OWN_ERRORS,
          expected=replace(_CUT, body=SAME)),
    Fault(number=28, name="error event after the start", modes=_STREAMS,
          answer=broken.error_after_start, but=_OWN_ERRORS | _STARTED,
          expected=replace(_CUT, body=SAME)),
    Fault(number=29, name="error event after content", modes=_STREAMS,
          answer=broken.error_after_content,
          expected=replace(_CUT, body=SAME),
          but={"messages": {"error_type": "overloaded", "usage": (12, 1)},
               "responses": {"usage": (12, 3), "sdk": "RuntimeError"}}),
    Fault(number=30, name="duplicate start event", modes=_STREAMS,
          answer=broken.started_twice, expected=_COMPLETED),
    Fault(number=31, name="terminal event missing", modes=_STREAMS,
          answer=broken.without_its_last_event, expected=_CUT,
          but={"messages": {"usage": (12, 34)}, "chat": _as(_COMPLETED)}),
    Fault(number=32, name="usage missing", answer=broken.without_usage,
          expected=replace(_COMPLETED, usage=None),
          # The SDK itself does not survive a message_delta without usage.
          but={"messages streaming": {"sdk": "AttributeError"}}),
    Fault(number=33, name="usage only in the last chunk", modes=_STREAMS,
          answer=broken.with_usage_at_the_end, expected=_COMPLETED),
    Fault(number=34, name="1 byte per packet", answer=broken.byte_by_byte,
          expected=_COMPLETED),
    Fault(number=35, name="8 MB in one event", answer=broken.eight_megabytes,
          expected=replace(_COMPLETED, text="x" * 8_000_000),
          but={"responses streaming": {"text": "@"}}),
    Fault(number=36, name="gzip shorter than its length",
          answer=broken.gzip_that_ends_early,
          expected=_COMPLETED, but={"blocking": _NOT_WHOLE}),
    Fault(number=36, name="gzip longer than its length",
          answer=broken.gzip_that_is_cut,
          expected=replace(_CUT, body=SOME), but=_STARTED | {"blocking": _NOT_WHOLE}),
    Fault(number=37, name="slow drip", answer=broken.dripping, patient=False,
          provider={"total_timeout": 1.2, "idle_timeout": 1.2},
          expected=replace(_COMPLETED, text="abc"),
          but={"streaming": {"beats": True}}),
    Fault(number=38, name="client disconnects at 0 %",
          answer=broken.waiting_at(0), caller=callers.leaving_at(0), expected=_LEFT),
    Fault(number=38, name="client disconnects at 50 %",
          answer=broken.waiting_at(0.5), caller=callers.leaving_at(0.5),
          expected=_LEFT, but=_STARTED | {"streaming": {"status": 200}}),
    Fault(number=38, name="client disconnects at 99 %",
          answer=broken.waiting_at(0.99), caller=callers.leaving_at(0.99),
          expected=_LEFT,
          but={"streaming": {"status": 200},
               "messages streaming": {"usage": (12, 34)},
               "chat streaming": {"usage": (12, 34)}}),
    Fault(number=39, name="client reads slowly", modes=_STREAMS,
          answer=broken.more_than_buffers_hold, caller=callers.reads_slowly,
          expected=_COMPLETED),
    Fault(number=40, name="two keys cooled with different deadlines in flight",
          answer=broken.first_late_then_at_once,
          second=says(429, "rate_limit_error", retry_after="100"),
          caller=callers.twice_at_once,
          expected=replace(_RESTS, cooldown=400, retry_after=100)),
)
# fmt: on

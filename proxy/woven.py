"""Carries several streamed turns to the client as one answer.

The rules are those of ``relay``. In addition, the stream goes on while tools run and
while upstream is asked again; it is silent for no longer than a heartbeat then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import TypeVar, cast

import gevent
import httpx
from django.conf import settings

from providers.database import give_back
from proxy import errors
from proxy.dialects.base import Dialect, StreamReader
from proxy.dialects.tooling import Weaver
from proxy.failover import Answer, upstream_errors
from proxy.relay import Relay
from proxy.turns import ToolTurns

_Result = TypeVar("_Result")


class WovenRelay(Relay):
    """An iterator of what the client gets; ``reader`` is None between two turns."""

    def __init__(
        self,
        answer: Answer,
        dialect: Dialect,
        weaver: Weaver,
        turns: ToolTurns,
        *,
        settle: Callable[[errors.GatewayError | None], None],
        is_gone: Callable[[], bool],
    ) -> None:
        reader = dialect.stream_reader()
        super().__init__(answer, reader, dialect, settle=settle, is_gone=is_gone)
        self.reader: StreamReader | None = reader
        self.weaver = weaver
        self._turns = turns
        self._spoke_at = time.monotonic()
        self._chunks: Iterator[bytes] = iter(())

    def _pieces(self) -> Iterator[bytes]:
        while True:
            self.weaver.begin_turn()
            for piece in self._turn():
                yield from self._spoken(piece)
            if not self.weaver.output.continues:
                break
            for piece in self._next_turn():
                yield from self._spoken(piece)
        self._settle(None)
        if ending := self.weaver.ending():
            self.started = True
            yield ending
        _drain(self._chunks)

    def _spoken(self, piece: bytes) -> Iterator[bytes]:
        """Pass a piece on, or a heartbeat when nothing was passed on for too long."""
        silent = time.monotonic() - self._spoke_at
        if not piece and silent >= settings.AIBRIDGE_HEARTBEAT_SECONDS * 0.9:
            piece = self._dialect.heartbeat
        if piece:
            self.started = True
            self._spoke_at = time.monotonic()
            yield piece

    def _turn(self) -> Iterator[bytes]:
        """Read one turn to its end."""
        reader, size = self._reader, 0
        self._chunks = self._answer.chunks()
        with upstream_errors():
            for chunk in self._chunks:
                size += len(chunk)
                if size > settings.AIBRIDGE_MAX_ANSWER_BYTES:
                    # What was said is kept for the next turn, so it has a limit.
                    raise errors.UpstreamBroke("upstream's answer is too large")
                reader.feed(chunk)
                yield self.weaver.feed(chunk)
                if reader.ended:
                    return
        yield self.weaver.feed(b"\n\n")
        self._require_end()

    def _require_end(self) -> None:
        reader = self._reader
        reader.finish(clean=True)
        if reader.ended or reader.complete:
            return
        if not self.started:
            raise errors.UpstreamEmpty
        raise errors.UpstreamBroke(
            "upstream ended the stream before its terminal event"
        )

    def _next_turn(self) -> Iterator[bytes]:
        """Run the turn's tools, and open the answer of the next."""
        turn = self._reader.finish(clean=True)
        self.reader = None
        self._turns.take(turn)
        output = self.weaver.output
        if self.weaver.opens and not self.started:
            yield self._dialect.heartbeat
        rest = gevent.spawn(_drain, self._chunks)
        try:
            yield from while_waiting(lambda: self._turns.run(output))
        finally:
            rest.kill()
            self._answer.close()
        self._answer = yield from while_waiting(self._turns.ask_for_stream)
        self.reader = self._reader = self._dialect.stream_reader()


def _drain(chunks: Iterator[bytes]) -> None:
    """Read what follows a terminal event, so that the connection can be used again."""
    with suppress(httpx.HTTPError, httpx.StreamError):
        for chunk in chunks:
            if not chunk:
                return


def while_waiting(call: Callable[[], _Result]) -> Generator[bytes, None, _Result]:
    """Yield b"" at each heartbeat until the call is done, and return its result.

    The call runs in a greenlet of its own, which is killed when this is closed.
    """
    running = gevent.spawn(_captured, call)
    try:
        while True:
            running.join(settings.AIBRIDGE_HEARTBEAT_SECONDS)
            if running.ready():
                break
            yield b""
    finally:
        running.kill()
    result, error = running.value
    if error is not None:
        raise error
    return cast(_Result, result)


def _captured(call: Callable[[], _Result]) -> tuple[_Result | None, Exception | None]:
    try:
        return call(), None
    except Exception as error:
        return None, error
    finally:
        give_back()

"""Carries a streamed answer to the client: unchanged, whole events only, recorded.

Rule 1: bytes pass as they came. A torn event waits for its rest, so that an error or a
        heartbeat never lands inside one.
Rule 2: the terminal event waits until the record is committed.
Rule 3: silence is filled between events only.
Rule 4: a stream that did not end by itself ends with the dialect's error event.
Rule 5: whatever happens (also GeneratorExit when the client hangs up), ``settle`` runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from itertools import chain

from proxy import errors
from proxy.dialects.base import Dialect, StreamReader
from proxy.failover import Answer, upstream_errors

_TORN_MOST = 64 * 1024 * 1024
_CHUNKS_BEFORE_YIELD = 32
_ENDINGS = (b"\n\n", b"\r\n\r\n", b"\r\r")


class WholeEvents:
    """Holds back the torn end of a byte stream until its event is whole.

    An event longer than 64 MiB is let through torn rather than kept.
    """

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def is_holding(self) -> bool:
        """Whether an event's beginning waits for its rest."""
        return bool(self._held)

    def push(self, chunk: bytes) -> bytes:
        """Return the bytes that may pass after this chunk, up to an event's end."""
        if not self._held:
            if chunk.endswith(_ENDINGS):
                return chunk
            cut = _last_ending(chunk, 0)
            self._held += chunk[cut:]
            return chunk[:cut]
        searched = max(0, len(self._held) - 3)
        self._held += chunk
        cut = _last_ending(self._held, searched)
        if not cut and len(self._held) > _TORN_MOST:
            cut = len(self._held)
        return self._take(cut)

    def rest(self) -> bytes:
        """Return what is still held, and hold nothing."""
        return self._take(len(self._held))

    def _take(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken


def _last_ending(data: bytes | bytearray, start: int) -> int:
    """Return the offset behind the last event end from ``start`` on, 0 if none."""
    found = ((data.rfind(end, start), len(end)) for end in _ENDINGS)
    return max((at + size for at, size in found if at >= 0), default=0)


class Relay:
    """An iterator of what the client gets; ``close`` is safe at any time.

    ``settle(error)`` is called exactly once and commits the record: with None when the
    answer came to its own end or the client left, else with what broke the stream. It
    runs before the terminal event passes. ``is_gone()`` says whether the client left,
    ``started`` whether anything was passed on.
    """

    def __init__(
        self,
        answer: Answer,
        reader: StreamReader,
        dialect: Dialect,
        *,
        settle: Callable[[errors.GatewayError | None], None],
        is_gone: Callable[[], bool],
    ) -> None:
        self._answer = answer
        self._reader = reader
        self._dialect = dialect
        self._settle_with = settle
        self._is_gone = is_gone
        self._settled = False
        self.started = False
        self._whole = WholeEvents()
        self._steps = self._run()
        self._first: tuple[bytes, ...] = ()

    def __iter__(self) -> Iterator[bytes]:
        return chain(self._first, self._steps)

    def close(self) -> None:
        """End the stream; what was not settled is settled as left by the client."""
        self._steps.close()
        self._finish()

    def open(self) -> None:
        """Wait for the first bytes, so that a failure before them can be a status.

        Raises GatewayError when the stream broke, or ended without an event, before
        anything could be passed on.
        """
        self._first = (next(self._steps, b""),)

    def _run(self) -> Generator[bytes, None, None]:
        try:
            yield from self._pieces()
        except errors.GatewayError as error:
            if self._settled or self._is_gone():
                return
            self._settle(error)
            if not self.started:
                raise
            yield self._dialect.error_event(
                error.status, error.message, error_type=error.envelope_type
            )
        finally:
            self._finish()

    def _pieces(self) -> Iterator[bytes]:
        """Yield what may pass, never b""; the loop is the gateway's hottest."""
        reader, push = self._reader, self._whole.push
        count = 0
        with upstream_errors():
            for chunk in self._answer.chunks():
                count += 1
                if not count % _CHUNKS_BEFORE_YIELD:
                    # A socket that always has bytes would starve other streams.
                    time.sleep(0)
                if self._settled:
                    if not chunk:
                        return
                    yield chunk
                elif not chunk:
                    self.started = True
                    yield self._dialect.heartbeat
                else:
                    free = reader.feed(chunk)
                    if reader.ended:
                        yield from self._last(chunk, free)
                    elif piece := push(chunk):
                        self.started = True
                        yield piece
        if not self._settled and (rest := self._end()):
            yield rest

    def _last(self, chunk: bytes, free: int) -> Iterator[bytes]:
        """Pass what precedes the terminal event, settle, and pass that event."""
        if free and (before := self._whole.push(chunk[:free])):
            self.started = True
            yield before
        self._settle(None)
        self.started = True
        yield self._whole.rest() + chunk[free:]

    def _end(self) -> bytes:
        """Settle a body that ended without a terminal event; return what was held."""
        self._reader.finish(clean=True)
        if not self._reader.complete:
            if not self.started and not self._whole.is_holding:
                raise errors.UpstreamEmpty
            raise errors.UpstreamBroke(
                "upstream ended the stream before its terminal event"
            )
        self._settle(None)
        return self._whole.rest()

    def _settle(self, error: errors.GatewayError | None) -> None:
        if not self._settled:
            self._settled = True
            self._settle_with(error)

    def _finish(self) -> None:
        self._answer.close()
        self._settle(None)

"""What the three stream readers share: framing, the terminal event, truncation.

1. An event that is not JSON is relayed and read past, unless it is named an error or
   is the end marker.
2. The event that ends the turn, also an error, is the last one that is read.
3. A turn without its terminal event is an error, and keeps what was learnt.
"""

from __future__ import annotations

from typing import ClassVar

from proxy.sse import EventSplitter, read_event

from .base import Json, Turn
from .faults import LONGEST_TEXT, truncated, turn_error
from .jsontext import read_json


class EventReader:
    """The base of a dialect's stream reader (see ``base.StreamReader``).

    A dialect overrides ``_on_event`` and ``_settle``. It puts into ``_plain`` what an
    event begins with that has nothing to learn in it; with a ``_plain_tail``, such an
    event must also go on with it at its next quote: it is text up to there.
    """

    _end_marker: ClassVar[bytes | None] = None
    """What an event says that ends the turn without being JSON."""

    def __init__(self) -> None:
        self.turn = Turn()
        self.ended = False
        self._complete = False
        self._finished = False
        self._plain: bytes | tuple[bytes, ...] = ()
        self._plain_end = 0
        self._plain_tail = b""
        self._splitter = EventSplitter()

    def feed(self, chunk: bytes) -> int:
        """Read the next bytes; return how many may reach the client already.

        Once the terminal event was seen the result is 0: later bytes wait behind it.
        """
        if self.ended:
            return 0
        events = self._splitter.feed(chunk)
        for raw in events:
            if raw.startswith(self._plain) and (
                not self._plain_tail or self._goes_on_plainly(raw)
            ):
                continue
            self._read(raw)
            if self.ended:
                return self._splitter.start_of(events.index(raw))
        return len(chunk)

    def _goes_on_plainly(self, raw: bytes) -> bool:
        return raw.startswith(self._plain_tail, raw.find(b'"', self._plain_end))

    def finish(self, *, clean: bool) -> Turn:
        """Close the turn at the end of the body and return it (idempotent)."""
        if self._finished:
            return self.turn
        self._finished = True
        if clean and not self.ended:
            # Some upstreams leave out the blank line after their last event.
            self._read(self._splitter.rest())
            self._complete = self._complete or self._is_whole()
        if not self._complete and self.turn.error is None:
            self.turn.error = truncated()
        self._settle()
        return self.turn

    @property
    def complete(self) -> bool:
        """Whether the answer came to its own end; False after an upstream error."""
        return self._complete

    @property
    def at_boundary(self) -> bool:
        """Whether the bytes fed so far end between two events (a heartbeat fits)."""
        return self._splitter.at_boundary

    def _read(self, raw: bytes) -> None:
        if not raw:
            return
        name, data = read_event(raw)
        value = read_json(data) if data else None
        if isinstance(value, dict):
            self._on_event(name, value, raw)
        elif name == "error":
            self._fail({"message": data[:LONGEST_TEXT].decode("utf-8", "replace")})
        elif data.strip() == self._end_marker:
            self._end()

    def _end(self) -> None:
        self._complete = True
        self.ended = True
        self._settle()

    def _fail(self, data: Json) -> None:
        self.turn.error = turn_error(data)
        self.ended = True
        self._settle()

    def _on_event(self, name: str, data: Json, raw: bytes) -> None:
        raise NotImplementedError

    def _settle(self) -> None:
        """Write what was collected into the turn; called at its end, maybe twice."""

    def _is_whole(self) -> bool:
        """Say whether a body that ended properly is whole without a terminal event."""
        return False

"""Splits an event stream into its events, on bytes and however they arrive.

It knows the framing of server-sent events only: no JSON, no API, no socket.
"""

from __future__ import annotations

import re

# Atomic, so that a CRLF is never taken for a CR followed by a separate LF.
_BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_LONGEST_BOUNDARY = 4
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventSplitter:
    """Collects bytes until an event is whole; linear in the bytes, at any chunking."""

    __slots__ = ("_carried", "_last", "_pending")

    def __init__(self) -> None:
        self._pending = bytearray()
        self._last = b""
        self._carried = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that this chunk completes, without their blank line.

        An event may be empty (a run of blank lines) or hold comments only.
        """
        whole = chunk
        self._carried = 0
        if self._pending:
            self._carried = len(self._pending)
            if not self._closes_event(chunk):
                return []
            whole = bytes(self._pending)
            self._pending.clear()
        self._last = whole
        # find is half the price of "in" on short chunks, and this runs for each.
        if whole.find(b"\r") < 0:
            events = whole.split(b"\n\n")
        else:
            events = _BOUNDARY.split(whole)
        rest = events.pop()
        if rest:
            self._pending += rest
        return events

    def _closes_event(self, chunk: bytes) -> bool:
        self._pending += chunk
        start = max(0, self._carried - _LONGEST_BOUNDARY)
        return _BOUNDARY.search(self._pending, start) is not None

    def start_of(self, index: int) -> int:
        """Return where event ``index`` of the last feed begins in that feed's chunk.

        0 when it began in an earlier chunk.
        """
        starts = [0, *(match.end() for match in _BOUNDARY.finditer(self._last))]
        return max(0, starts[index] - self._carried)

    @property
    def at_boundary(self) -> bool:
        """Whether the bytes fed so far end between two events."""
        pending = self._pending
        return len(pending) < _LONGEST_BOUNDARY and not pending.strip(b"\r\n")

    def rest(self) -> bytes:
        """Return the bytes after the last blank line: an event that never ended."""
        return bytes(self._pending)


def read_event(raw: bytes) -> tuple[str, bytes]:
    """Return an event's name ("" when it has none) and its data.

    Several data lines are joined with a line feed; comments and other fields are
    skipped, as the WHATWG rules for event streams say.
    """
    if raw.startswith(b"data: ") and b"\n" not in raw and b"\r" not in raw:
        return "", raw[6:]
    name, data = b"", []
    for line in _lines(raw):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return name.decode("utf-8", "replace"), b"\n".join(data)


def _lines(raw: bytes) -> list[bytes]:
    raw = raw.removeprefix(_BYTE_ORDER_MARK)
    return _LINE_END.split(raw) if b"\r" in raw else raw.split(b"\n")

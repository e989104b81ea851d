"""Server-sent events about a session that goes on, for the page that shows it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from interceptions import timeline
from interceptions.models import Session
from providers.database import give_back

LOOK_SECONDS = 1.0
FEED_SECONDS = 300.0
_BEAT_SECONDS = 15.0

_closing = threading.Event()


def start() -> None:
    """Let feeds go on for their time."""
    _closing.clear()


def close_all() -> None:
    """End all feeds at once: they would delay the end of the server."""
    _closing.set()


def feed(session: Session) -> Iterator[bytes]:
    """Yield an event for each change, until the feed's time is over.

    The browser then connects again. No connection is held while nothing is asked.
    """
    known = _version(session)
    ends = time.monotonic() + FEED_SECONDS
    beat = time.monotonic()
    yield b"retry: 2000\n\n"
    while time.monotonic() < ends and not _closing.wait(LOOK_SECONDS):
        now = _version(session)
        if now != known:
            known, beat = now, time.monotonic()
            yield b"event: changed\ndata: " + json.dumps(now[2:]).encode() + b"\n\n"
        elif time.monotonic() - beat > _BEAT_SECONDS:
            beat = time.monotonic()
            yield b": still here\n\n"


def _version(session: Session) -> tuple[Any, ...]:
    try:
        return timeline.version(session)
    finally:
        give_back()

"""Connections to upstreams: waited on, and kept for reuse, under gevent.

Knows sockets and time; does not know HTTP.
"""

from __future__ import annotations

import contextlib
import math
import socket as constants
import ssl
import time
from collections.abc import Callable
from typing import Any

import gevent
import gevent.monkey
from gevent import socket

from proxy.dialling import Origin

RECV_SIZE = 64 * 1024
_READ = 1  # libev's EV_READ


class Aborted(Exception):
    """Somebody else gave the connection up while it was waited on."""


class Connection:
    """One connected socket, and the one greenlet that may wait on it.

    A single read watcher stays registered for the connection's whole life, and one
    lazily re-armed timer replaces a timeout object per wait: that is what makes a
    wait cheap. Belongs to the thread (hub) that opened it.
    """

    __slots__ = (
        "_due",
        "_hub",
        "_listening",
        "_on_idle_end",
        "_outcome",
        "_reader",
        "_sock",
        "_timer",
        "_timer_at",
        "_tls",
        "_waiter",
        "aborted",
        "origin",
        "reused",
    )

    def __init__(self, sock: socket.socket, origin: Origin) -> None:
        self.origin = origin
        self.reused = False
        self.aborted = False
        self._sock = sock
        self._tls = origin.scheme == "https"
        self._hub = gevent.get_hub()
        self._reader = self._hub.loop.io(sock.fileno(), _READ)
        self._listening = False
        self._waiter: Any = None
        self._outcome: bool | None = None
        self._on_idle_end: Callable[[Connection], None] | None = None
        self._timer: Any = None
        self._timer_at = self._due = math.inf

    def wait_readable(self, until: float) -> bool:
        """Wait for bytes or the end; False when ``until`` (monotonic) came first.

        Raises Aborted.
        """
        if self._tls and self._sock.pending():
            return True
        self._due = until
        if until < self._timer_at:
            self._arm(until - time.monotonic())
        self._listen()
        self._outcome = None
        self._waiter = gevent.getcurrent()
        try:
            while self._outcome is None and not self.aborted:
                self._hub.switch()
        finally:
            self._waiter = None
        if self.aborted:
            raise Aborted
        return bool(self._outcome)

    def recv(self) -> bytes | None:
        """Return what is there, b"" at the end, None when nothing is; or OSError."""
        try:
            received: bytes = self._sock.recv(RECV_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        return received

    def send(self, content: bytes, *, stall: float) -> None:
        """Send all of it; raises OSError, TimeoutError after ``stall`` seconds."""
        try:
            sent = self._sock.send(content)
        except BlockingIOError:
            sent = 0
        if sent < len(content):
            self._send_rest(memoryview(content)[sent:], stall)

    def _send_rest(self, rest: memoryview, stall: float) -> None:
        self._sock.settimeout(stall if stall < math.inf else None)
        try:
            while rest:
                rest = rest[self._sock.send(rest) :]
        finally:
            self._sock.settimeout(0.0)

    def abort(self) -> None:
        """Give the connection up from another greenlet or a hub callback."""
        self.aborted = True
        if self._waiter is not None:
            self._hub.loop.run_callback(self._wake, False)
        with contextlib.suppress(OSError):
            # The base class's shutdown leaves a TLS object usable for the writer
            # that is about to wake up.
            socket.socket.shutdown(self._sock, constants.SHUT_RDWR)

    def rest(self, seconds: float, on_end: Callable[[Connection], None]) -> None:
        """Idle; ``on_end`` is called when upstream closes or after ``seconds``."""
        self._on_idle_end = on_end
        self._reader.ref = False
        self._listen()
        self._due = time.monotonic() + seconds
        if self._due < self._timer_at:
            self._arm(seconds)

    def resume(self) -> None:
        """Serve another exchange after a rest."""
        self._on_idle_end = None
        self._reader.ref = True
        self.reused = True

    def close(self) -> None:
        self._on_idle_end = None
        self._disarm()
        self._reader.close()
        self._sock.close()

    def _listen(self) -> None:
        if not self._listening:
            self._reader.start(self._on_readable)
            self._listening = True

    def _on_readable(self) -> None:
        if self._waiter is not None:
            self._wake(True)
        elif self._on_idle_end is not None:
            # Nothing may arrive between exchanges: the end, or a broken upstream.
            self._on_idle_end(self)
        else:
            self._reader.stop()
            self._listening = False

    def _on_timer(self) -> None:
        self._disarm()
        left = self._due - time.monotonic()
        if self._waiter is None and self._on_idle_end is None:
            return
        if left > 0:
            self._arm(left)
        elif self._waiter is not None:
            self._wake(False)
        elif self._on_idle_end is not None:
            self._on_idle_end(self)

    def _wake(self, outcome: bool) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._outcome = outcome
            waiter.switch()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        if seconds < math.inf:
            self._timer = self._hub.loop.timer(max(seconds, 0.0), ref=False)
            self._timer.start(self._on_timer)
            self._timer_at = self._due

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.close()
        self._timer, self._timer_at = None, math.inf


class _PerThread(gevent.monkey.get_original("threading", "local")):  # type: ignore[misc]
    """Idle connections of one thread: a watcher must not leave its hub."""

    def __init__(self) -> None:
        self.idle: dict[Origin, list[Connection]] = {}


class ConnectionPool:
    """Idle connections per origin, the last used first; no limit on those in use.

    geventhttpclient's own pool is not used: it caps concurrency, polls with
    ``select`` (which fails beyond descriptor 1023) and never lets idle ones expire.
    """

    def __init__(self, *, idle_limit: int, idle_expiry: float) -> None:
        self._idle_limit = idle_limit
        self._idle_expiry = idle_expiry
        self._threads = _PerThread()

    def take(self, origin: Origin) -> Connection | None:
        """Return an idle connection, or None."""
        idle = self._threads.idle.get(origin)
        if not idle:
            return None
        connection = idle.pop()
        connection.resume()
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose exchange is complete."""
        idle = self._threads.idle.setdefault(connection.origin, [])
        if len(idle) >= self._idle_limit:
            connection.close()
            return
        idle.append(connection)
        connection.rest(self._idle_expiry, self._drop)

    def close(self) -> None:
        """Close this thread's idle connections."""
        for idle in self._threads.idle.values():
            for connection in idle:
                connection.close()
            idle.clear()

    def count_idle(self) -> int:
        return sum(map(len, self._threads.idle.values()))

    def _drop(self, connection: Connection) -> None:
        self._threads.idle[connection.origin].remove(connection)
        connection.close()

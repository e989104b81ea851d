"""Connections to upstreams: dialled, waited on and kept for reuse under gevent.

Knows addresses, sockets and TLS; does not know HTTP.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import socket as constants
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import certifi
import gevent
import gevent.monkey
import httpx
from gevent import socket
from gevent import ssl as gevent_ssl

RECV_SIZE = 64 * 1024
DNS_TTL = 5.0
_READ = 1  # libev's EV_READ

ResolveGuard = Callable[[str], None]
"""Raises ValueError, saying why, when an IP address must not be called."""


class Origin(NamedTuple):
    """Whom a connection talks to; connections are only reused within one."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """One resolved address of an origin, ready for ``connect``."""

    family: int
    sockaddr: tuple[Any, ...]

    @property
    def ip(self) -> str:
        return str(self.sockaddr[0]).partition("%")[0]


class Resolver:
    """Names to addresses, remembered for a few seconds and checked by a guard."""

    def __init__(self, guard: ResolveGuard | None = None) -> None:
        self._guard = guard
        self._known: dict[tuple[str, int], tuple[float, list[Address]]] = {}

    def resolve(self, host: str, port: int) -> list[Address]:
        """Return the allowed addresses; raises ConnectError when there are none."""
        expires, addresses = self._known.get((host, port), (0.0, []))
        if expires < time.monotonic():
            addresses = _literal(host, port) or _look_up(host, port)
            self._known[host, port] = (time.monotonic() + DNS_TTL, addresses)
        self._check(host, addresses)
        return addresses

    def _check(self, host: str, addresses: list[Address]) -> None:
        # The very addresses that are connected to are checked, so a name cannot
        # answer differently in between. One forbidden address condemns the name.
        if self._guard is None:
            return
        for address in addresses:
            try:
                self._guard(address.ip)
            except ValueError as error:
                raise httpx.ConnectError(f"{host}: {error}") from error


def _literal(host: str, port: int) -> list[Address]:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return []
    if ip.version == 6:
        return [Address(socket.AF_INET6, (host, port, 0, 0))]
    return [Address(socket.AF_INET, (host, port))]


def _look_up(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"DNS: {host} cannot be resolved: {error}") from error
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


class Dialler:
    """Opens sockets: name resolution, TCP, and TLS when the origin asks for it."""

    def __init__(self, resolver: Resolver, context: ssl.SSLContext | None) -> None:
        self._resolver = resolver
        self._context = context

    def dial(self, origin: Origin, *, connect: float, tls: float) -> socket.socket:
        """Return a connected, non-blocking socket.

        ``connect`` bounds name resolution and TCP, ``tls`` the handshake (seconds).
        Raises httpx.ConnectTimeout or httpx.ConnectError, which says what failed.
        """
        sock = self._connect(origin, connect)
        if origin.scheme == "https":
            sock = self._secure(sock, origin, tls)
        sock.settimeout(0.0)
        return sock

    def _connect(self, origin: Origin, seconds: float) -> socket.socket:
        deadline = time.monotonic() + seconds
        with _limit(seconds, f"DNS: no answer for {origin.host}"):
            addresses = self._resolver.resolve(origin.host, origin.port)
        failure: OSError | None = None
        for position, address in enumerate(addresses):
            # A silent first address must leave time for the others.
            share = (deadline - time.monotonic()) / (len(addresses) - position)
            try:
                return _connect_tcp(address, share)
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise httpx.ConnectTimeout(f"TCP: {origin} does not answer") from failure
        raise httpx.ConnectError(f"TCP: {origin}: {failure}") from failure

    def _secure(
        self, sock: socket.socket, origin: Origin, seconds: float
    ) -> socket.socket:
        if self._context is None:
            self._context = default_context()
        sock.settimeout(None)
        try:
            # An end without close_notify must be seen: it may be a truncation.
            secured = self._context.wrap_socket(
                sock,
                server_hostname=origin.host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        except (OSError, ValueError) as error:
            sock.close()
            raise httpx.ConnectError(f"TLS: {origin}: {error}") from error
        try:
            with _limit(seconds, f"TLS: {origin} does not finish the handshake"):
                secured.do_handshake()
        except OSError as error:
            secured.close()
            raise httpx.ConnectError(f"TLS: {origin}: {error}") from error
        except BaseException:
            secured.close()
            raise
        return secured


def _connect_tcp(address: Address, seconds: float) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(0.001, seconds) if seconds < math.inf else None)
        sock.connect(address.sockaddr)
        sock.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
        # Models may be silent for minutes; this keeps NAT tables from forgetting.
        sock.setsockopt(constants.SOL_SOCKET, constants.SO_KEEPALIVE, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _limit(seconds: float, message: str) -> gevent.Timeout:
    error = httpx.ConnectTimeout(message)
    return gevent.Timeout(None if seconds == math.inf else seconds, error)


def default_context() -> ssl.SSLContext:
    """Return a verifying context: SSL_CERT_FILE, else the system's, else certifi's."""
    paths = ssl.get_default_verify_paths()
    has_system_cas = paths.cafile or (paths.capath and os.listdir(paths.capath))
    context: ssl.SSLContext = gevent_ssl.create_default_context(
        cafile=None if has_system_cas else certifi.where()
    )
    context.set_alpn_protocols(["http/1.1"])
    return context


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

"""Opens sockets to upstreams: name resolution, TCP, TLS; under gevent.

Knows addresses and certificates; does not know HTTP.
"""

from __future__ import annotations

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
import httpx
from gevent import socket
from gevent import ssl as gevent_ssl
from gevent.lock import Semaphore

DNS_TTL = 5.0
DNS_FAILURE_TTL = 1.0

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


@dataclass(frozen=True, slots=True)
class _Known:
    """What a name is known to mean until some time (monotonic)."""

    until: float
    addresses: list[Address]
    problem: str = ""


class Resolver:
    """Names to addresses, remembered for a few seconds and checked by a guard.

    However many callers ask for a name, one question for it is under way at a time.
    """

    def __init__(self, guard: ResolveGuard | None = None) -> None:
        self._guard = guard
        self._known: dict[tuple[str, int], _Known] = {}
        self._asking: dict[str, Semaphore] = {}

    def resolve(self, host: str, port: int) -> list[Address]:
        """Return the allowed addresses; raises ConnectError when there are none."""
        known = self._recall(host, port)
        if known is None:
            with self._asking.setdefault(host, Semaphore()):
                known = self._recall(host, port) or self._ask(host, port)
        if known.problem:
            raise httpx.ConnectError(known.problem)
        self._check(host, known.addresses)
        return known.addresses

    def _recall(self, host: str, port: int) -> _Known | None:
        known = self._known.get((host, port))
        return known if known and known.until > time.monotonic() else None

    def _ask(self, host: str, port: int) -> _Known:
        try:
            addresses = _literal(host, port) or _look_up(host, port)
            known = _Known(time.monotonic() + DNS_TTL, addresses)
        except (OSError, UnicodeError) as error:
            problem = f"DNS: {host} cannot be resolved: {error}"
            known = _Known(time.monotonic() + DNS_FAILURE_TTL, [], problem)
        self._known[host, port] = known
        return known

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
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
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
    # gevent's class by name: in a process that is not patched, the functions that
    # make contexts make blocking ones.
    context: ssl.SSLContext = gevent_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and os.listdir(paths.capath)):
        context.load_default_certs()
    else:
        context.load_verify_locations(certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context

"""The transport seam: httpx requests and responses over gevent sockets and llhttp.

Knows HTTP/1.1 and time; does not know keys, dialects or the client.

1. ``handle_request`` returns as soon as the response's head is there; the body is
   read while ``response.stream`` is iterated, and ``close`` must follow.
2. A body that is cut always raises. Only a response without a length, on a
   connection that ends properly, may end with the connection.
3. Nothing is sent twice, with the one exception that browsers make as well: when a
   kept connection turns out to be closed by upstream (the keep-alive race of RFC 9112
   section 9.3.1), the request is sent once more on a fresh one. That is so when the
   connection ends before any byte of an answer and within RACE_SECONDS, since a later
   end may mean that upstream died of the request. Silence is no such end, and a fresh
   connection gets no second.
4. A connection serves one exchange at a time. It is kept only after a complete
   response, without surplus bytes, that both sides want it to survive.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
from geventhttpclient.response import HTTPParseError

from providers.validators import refuse_forbidden_ip
from proxy.connections import Aborted, Connection, ConnectionPool
from proxy.dialling import Dialler, Origin, ResolveGuard, Resolver
from proxy.http1 import END_OF_HEAD, METHODS_WITH_BODY, ResponseParser, render

RACE_SECONDS = 2.0
HEAD_LIMIT = 64 * 1024
SENT_TOGETHER = 64 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}


class GeventTransport(httpx.BaseTransport):
    """Speaks HTTP/1.1 to upstreams; thousands of exchanges at a time.

    Reads from ``request.extensions``, times in seconds, None or absent = no limit:

    - ``timeout``: ``{"connect", "tls", "read", "write"}``; ``connect`` covers the name
      and TCP, ``tls`` (default: as connect) the handshake, ``read`` one silence,
      ``write`` one stall while sending. There is no pool limit to wait for.
    - ``total``: the whole exchange, until the body has been read.
    - ``tick``: iterating the response yields ``b""`` after each such silence.
    - ``on_socket``: called with an abort function when the request is about to be
      sent, again if it is sent on a second connection.

    Adds to ``response.extensions`` the same function as ``abort``: from any greenlet
    or hub callback it ends the exchange, and a blocked reader gets httpx.ReadError.

    Raises httpx's ConnectTimeout, ConnectError, WriteTimeout, WriteError,
    ReadTimeout, ReadError, RemoteProtocolError, LocalProtocolError and
    UnsupportedProtocol; so does iterating the stream, as far as they apply.
    """

    def __init__(
        self,
        *,
        resolve_guard: ResolveGuard | None = None,
        ssl_context: ssl.SSLContext | None = None,
        idle_limit: int = 32,
        idle_expiry: float = 30.0,
    ) -> None:
        self.dialler = Dialler(Resolver(resolve_guard), ssl_context)
        self.pool = ConnectionPool(idle_limit=idle_limit, idle_expiry=idle_expiry)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the response once its head has arrived."""
        return _Exchange(self, request).run()

    def close(self) -> None:
        self.pool.close()


class _Exchange:
    """One request and its response."""

    def __init__(self, transport: GeventTransport, request: httpx.Request) -> None:
        extensions = request.extensions
        limits = extensions.get("timeout") or {}
        self._transport = transport
        self._request = request
        self._limits = limits
        self._read_limit = _seconds(limits.get("read"))
        self._deadline = time.monotonic() + _seconds(extensions.get("total"))
        self._tick = _seconds(extensions.get("tick"))
        self._connection: Connection | None = None
        self._parser = ResponseParser(request.method)
        self._answered = False
        self._reusable = True
        self._aborted = False

    def run(self) -> httpx.Response:
        origin = _origin(self._request.url)
        head, body = render(self._request)
        try:
            kept = self._transport.pool.take(origin)
            if kept is None or not self._try(kept, head, body):
                self._try(self._dial(origin), head, body)
        except BaseException:
            self.close()
            raise
        return httpx.Response(
            self._parser.status,
            headers=self._parser.headers(),
            stream=_Body(self),
            extensions={"http_version": b"HTTP/1.1", "abort": self.abort},
            request=self._request,
        )

    def body(self) -> Iterator[bytes]:
        """Yield the body as it arrives, and ``b""`` after each tick of silence."""
        parser = self._parser
        if parser.parts:
            yield parser.take()
        while not parser.complete:
            silent_since = time.monotonic()
            while (received := self._receive(silent_since, self._tick)) is None:
                yield b""
            self._feed(received)
            if parser.parts:
                yield parser.take()

    def abort(self) -> None:
        """End the exchange from another greenlet; nothing happens once it is over."""
        self._aborted = True
        if self._connection is not None:
            self._connection.abort()

    def close(self) -> None:
        """Close the connection unless the exchange has already let go of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _try(self, connection: Connection, head: bytes, body: bytes) -> bool:
        """Return whether this connection answered; False only for rule 3."""
        self._connection = connection
        if self._aborted:
            raise httpx.ReadError("the request was given up")
        on_socket = self._request.extensions.get("on_socket")
        if on_socket is not None:
            on_socket(self.abort)
        started = time.monotonic()
        try:
            self._send_and_read_head(connection, head, body)
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            if time.monotonic() - started > RACE_SECONDS:
                raise
            if not connection.reused or self._answered or self._aborted:
                raise
            self.close()
            return False
        return True

    def _dial(self, origin: Origin) -> Connection:
        left = self._left()
        connect = _seconds(self._limits.get("connect"))
        tls = _seconds(self._limits.get("tls", self._limits.get("connect")))
        sock = self._transport.dialler.dial(
            origin, connect=min(connect, left), tls=min(tls, left)
        )
        return Connection(sock, origin)

    def _left(self) -> float:
        """Return the seconds of the total time that are left, at least a moment."""
        return max(0.001, self._deadline - time.monotonic())

    def _send_and_read_head(
        self, connection: Connection, head: bytes, body: bytes
    ) -> None:
        failure = self._send(connection, head, body)
        try:
            self._read_head()
        except (httpx.ReadError, httpx.RemoteProtocolError) as error:
            if failure is None or self._answered:
                raise
            message = f"{connection.origin} does not take the request: {failure}"
            raise httpx.WriteError(message) from error

    def _send(self, connection: Connection, head: bytes, body: bytes) -> OSError | None:
        """Send the request; return what went wrong, since there may be an answer."""
        stall = min(_seconds(self._limits.get("write")), self._left())
        try:
            if len(body) <= SENT_TOGETHER:
                connection.send(head + body, stall=stall)
            else:
                connection.send(head, stall=stall)
                connection.send(body, stall=stall)
        except TimeoutError as error:
            message = f"{connection.origin} does not read the request"
            raise httpx.WriteTimeout(message) from error
        except OSError as error:
            self._reusable = False
            return error
        return None

    def _read_head(self) -> None:
        """Feed whole heads to the parser, so that it never sees a header in parts."""
        head, size, since = b"", 0, time.monotonic()
        while not self._parser.head_complete:
            received = self._receive(since, math.inf)
            if not received:
                where = "inside" if self._answered else "before"
                raise httpx.RemoteProtocolError(
                    f"upstream closed the connection {where} the response's head"
                )
            self._answered = True
            size += len(received)
            head = self._feed_heads(head + received)
            if size > HEAD_LIMIT and not self._parser.head_complete:
                raise httpx.RemoteProtocolError("the response's head is too long")
        if head:
            self._feed(head)

    def _feed_heads(self, head: bytes) -> bytes:
        """Feed interim heads and the final one; return what they leave."""
        while not self._parser.head_complete:
            end = head.find(END_OF_HEAD)
            if end < 0:
                break
            end += len(END_OF_HEAD)
            self._feed(head[:end])
            head = head[end:]
        return head

    def _receive(self, silent_since: float, tick: float) -> bytes | None:
        """Return what arrives, b"" at the connection's end, None after a tick.

        Any failure closes the connection.
        """
        connection = self._connection
        if connection is None:
            raise httpx.ReadError("the response was closed before its end")
        now = time.monotonic()
        quiet_until = min(silent_since + self._read_limit, self._deadline)
        until = min(quiet_until, now + tick)
        try:
            while True:
                # An upstream that always has bytes must not outrun the total time.
                if now >= quiet_until or not connection.wait_readable(until):
                    if until < quiet_until:
                        return None
                    raise httpx.ReadTimeout(self._silence(connection))
                received = connection.recv()
                if received is not None:
                    return received
        except Aborted as error:
            self.close()
            raise httpx.ReadError("the request was given up") from error
        except OSError as error:
            self.close()
            raise httpx.ReadError(f"{connection.origin}: {error}") from error
        except BaseException:
            self.close()
            raise

    def _silence(self, connection: Connection) -> str:
        if time.monotonic() >= self._deadline:
            return f"{connection.origin} did not finish within the total time"
        return f"{connection.origin} was silent for {self._read_limit:g} s"

    def _feed(self, received: bytes) -> None:
        """Parse; when that completes the response, let go of the connection."""
        parser = self._parser
        try:
            parser.feed(received)
        except HTTPParseError as error:
            self._reusable = False
            if not parser.complete:
                self.close()
                raise httpx.RemoteProtocolError(_broken(received, error)) from error
        if parser.complete:
            self._let_go()

    def _let_go(self) -> None:
        connection, parser = self._connection, self._parser
        keep = self._reusable and parser.should_keep_alive() and not parser.surplus
        if keep and connection is not None and not self._aborted:
            self._connection = None
            self._transport.pool.give_back(connection)
        else:
            self.close()


class _Body(httpx.SyncByteStream):
    """The response's body: iterate once, then close."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        return self._exchange.body()

    def close(self) -> None:
        self._exchange.close()


def _broken(received: bytes, error: HTTPParseError) -> str:
    if not received:
        return "upstream closed the connection before the response was complete"
    return f"upstream's response is not HTTP: {error.args[0]}"


def _seconds(limit: float | None) -> float:
    return math.inf if limit is None else limit


def _origin(url: httpx.URL) -> Origin:
    default = _DEFAULT_PORTS.get(url.scheme)
    if default is None or not url.raw_host:
        raise httpx.UnsupportedProtocol(f"{url.scheme!r} is neither http nor https")
    return Origin(url.scheme, url.raw_host.decode("ascii"), url.port or default)


def new_request(
    method: str,
    url: httpx.URL,
    headers: Iterable[tuple[str, str]],
    content: bytes,
    extensions: dict[str, Any],
) -> httpx.Request:
    """Return a request for any transport, without the 20 us of httpx's defaults.

    ``headers`` (neither Host nor Content-Length) are sent as they are, in Latin-1 as
    WSGI decodes them. Raises LocalProtocolError when that cannot carry one.
    """
    try:
        fields = [(b"Host", url.netloc)]
        fields += [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers]
    except UnicodeEncodeError as error:
        raise httpx.LocalProtocolError("a request header is not Latin-1") from error
    if content or method in METHODS_WITH_BODY:
        fields.append((b"Content-Length", b"%d" % len(content)))
    stream = httpx.ByteStream(content)
    return httpx.Request(
        method, url, headers=fields, stream=stream, extensions=extensions
    )


_transport: httpx.BaseTransport | None = None


def get_transport() -> httpx.BaseTransport:
    """Return this process's transport, made when first asked for."""
    global _transport
    if _transport is None:
        _transport = GeventTransport(resolve_guard=refuse_forbidden_ip)
    return _transport


def set_transport(transport: httpx.BaseTransport | None) -> None:
    """Put another transport in its place; None restores the default one."""
    global _transport
    _transport = transport

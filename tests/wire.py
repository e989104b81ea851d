"""The fake upstream's side of one connection: HTTP in, scripted bytes out."""

from __future__ import annotations

import contextlib
import gzip
import math
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator

from tests.answers import Answer, SeenRequest

_HOP = 0.05


class ClientLeft(Exception):
    """The client closed its side before the answer was out."""


class Stopped(Exception):
    """The answer ends here: a fault was scripted, or the upstream is shut down."""


class Connection:
    """One accepted connection."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock = sock
        self._number = number
        self._is_shut = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def greet(self, tls: ssl.SSLContext | None) -> None:
        if tls is not None:
            self._sock = tls.wrap_socket(self._sock, server_side=True)
        self._file = self._sock.makefile("rb")

    def shut(self) -> None:
        """End it from another thread; its own thread wakes up and closes it."""
        self._is_shut = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def say_goodbye(self) -> None:
        """End the TLS session properly, after an answer that ends with it."""
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.settimeout(1.0)
            with contextlib.suppress(OSError):
                self._sock.unwrap()

    def close(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._sock.close()

    def read_request(self) -> SeenRequest | None:
        """Read the next request; None when the client has no more."""
        line = self._file.readline().decode("latin-1").split()
        if len(line) != 3:
            return None
        headers = list(self._read_headers())
        lengths = {name.lower(): value for name, value in headers}
        if lengths.get("expect") == "100-continue":
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in lengths.get("transfer-encoding", ""):
            body = b"".join(self._read_chunks())
        else:
            body = self._file.read(int(lengths.get("content-length", 0)))
        return SeenRequest(line[0], line[1], headers, body, self._number)

    def _read_headers(self) -> Iterator[tuple[str, str]]:
        while line := self._file.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            yield name, value.strip()

    def _read_chunks(self) -> Iterator[bytes]:
        while size := int(self._file.readline().split(b";")[0], 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()

    def send_answer(self, request: SeenRequest, answer: Answer) -> bool:
        """Send it as scripted; return whether the connection stays usable.

        Raises ClientLeft, OSError, or Stopped when a fault ends the answer.
        """
        self._pause(math.inf if answer.hang else answer.wait)
        if answer.raw is not None:
            self._send_raw(request, answer, answer.raw)
            return False
        streamed, content = answer.content(request)
        encoded = gzip.compress(content) if answer.compress else content
        is_chunked = streamed and answer.content_length is None
        is_chunked = is_chunked and not answer.until_close
        self._sock.sendall(self._head(request, answer, streamed, len(encoded)))
        if answer.compress:
            request.sent += content
        out = _Body(self, request, answer, None if is_chunked else len(encoded))
        for piece in answer.pieces(encoded, streamed=streamed):
            if isinstance(piece, bytes):
                out.write(piece)
            else:
                self._pause(piece)
        out.end()
        if answer.until_close:
            self.say_goodbye()
        return not answer.until_close and answer.content_length is None

    def _send_raw(self, request: SeenRequest, answer: Answer, raw: bytes) -> None:
        for piece in answer.pieces(raw, streamed=False):
            if isinstance(piece, bytes):
                request.sent += piece
                self._sock.sendall(piece)
            else:
                self._pause(piece)
        if answer.reset_after is not None:
            self.reset()

    def _head(
        self, request: SeenRequest, answer: Answer, streamed: bool, length: int
    ) -> bytes:
        kind = "text/event-stream" if streamed else "application/json"
        headers = {
            "Content-Type": kind,
            "request-id": f"req_{request.number}",
            "x-request-id": f"req_{request.number}",
        }
        if answer.compress:
            headers["Content-Encoding"] = "gzip"
        if answer.until_close:
            headers["Connection"] = "close"
        elif answer.content_length is not None:
            headers["Content-Length"] = str(answer.content_length)
        elif streamed:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(length)
        given = {name.lower() for name in answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Scripted"]
        lines += [f"{n}: {v}" for n, v in headers.items() if n.lower() not in given]
        lines += [f"{n}: {v}" for n, v in answer.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send(self, content: bytes) -> None:
        self._sock.sendall(content)

    def fall_silent(self) -> None:
        self._pause(math.inf)

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _pause(self, seconds: float) -> None:
        """Wait; raises ClientLeft as soon as the client hangs up."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if poll.poll(min(left, 3600) * 1000):
                self._check_client()
                # The client is there and sends on: that is no reason to hurry.
                time.sleep(min(left, _HOP))

    def _check_client(self) -> None:
        if self._is_shut:
            raise Stopped
        try:
            peeked = socket.socket.recv(self._sock, 1, socket.MSG_PEEK)
        except OSError as error:
            raise ClientLeft from error
        # Between request and answer a TLS client only ever sends its goodbye.
        if not peeked or isinstance(self._sock, ssl.SSLSocket):
            raise ClientLeft


class _Body:
    """Writes an answer's content up to where a fault stops it."""

    def __init__(
        self,
        connection: Connection,
        request: SeenRequest,
        answer: Answer,
        length: int | None,
    ) -> None:
        self._connection = connection
        self._request = request
        self._answer = answer
        self._is_chunked = length is None
        self._missing = math.inf if length is None else length
        stops = (answer.silent_after, answer.cut_after, answer.reset_after)
        self._left = min((s for s in stops if s is not None), default=math.inf)
        self._stop_if_due()

    def write(self, piece: bytes) -> None:
        if len(piece) > self._left:
            piece = piece[: int(self._left)]
        self._missing -= len(piece)
        # The books are kept before the bytes leave: who got them may look at once.
        self._request.completed = self._missing <= 0
        if not self._answer.compress:
            self._request.sent += piece
        if piece:
            self._connection.send(self._framed(piece))
        self._left -= len(piece)
        self._stop_if_due()

    def end(self) -> None:
        self._request.completed = True
        if self._is_chunked:
            self._connection.send(b"0\r\n\r\n")

    def _framed(self, piece: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(piece), piece) if self._is_chunked else piece

    def _stop_if_due(self) -> None:
        if self._left > 0:
            return
        if self._answer.silent_after is not None:
            self._connection.fall_silent()
        if self._answer.reset_after is not None:
            self._connection.reset()
        raise Stopped

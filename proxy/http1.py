"""HTTP/1.1 as bytes: a request's head out, a response in through llhttp; pure."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from geventhttpclient.response import HTTPResponseParser

END_OF_HEAD = b"\r\n\r\n"
METHODS_WITH_BODY = {"POST", "PUT", "PATCH"}
_OWN_FRAMING = {b"content-length", b"transfer-encoding"}


def render(request: httpx.Request) -> tuple[bytes, bytes]:
    """Return the request's head and body; the body's length is stated by count."""
    body = request.read()
    lines = [b"%s %s HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    for name, value in request.headers.raw:
        if name.lower() not in _OWN_FRAMING:
            lines.append(name + b": " + value)
    if body or request.method in METHODS_WITH_BODY:
        lines.append(b"Content-Length: %d" % len(body))
    head = b"\r\n".join(lines) + END_OF_HEAD
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1:
        raise httpx.LocalProtocolError("a request header contains a line break")
    return head, body


class ResponseParser(HTTPResponseParser):
    """llhttp's callbacks, as few of them in Python as possible.

    Names, values and body parts go straight into lists. Names and values pair up
    because a head is fed in one piece.
    """

    def __init__(self, method: str) -> None:
        super().__init__()
        self.head_complete = False
        self.complete = False
        self.surplus = False
        self.status = 0
        self.parts: list[bytearray] = []
        self._is_head = method == "HEAD"
        self._names: list[str] = []
        self._values: list[str] = []
        self._on_header_field: Callable[[str], None] = self._names.append
        self._on_header_value: Callable[[str], None] = self._values.append
        self._on_body: Callable[[bytearray], None] = self.parts.append

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in zip(self._names, self._values, strict=False)
        ]

    def take(self) -> bytes:
        """Return the body bytes parsed since the last time."""
        content = b"".join(self.parts)
        self.parts.clear()
        return content

    def _on_status(self, reason: str) -> None:
        """The reason phrase is of no use."""

    def _on_message_begin(self) -> None:
        if self.complete:
            # Another response that nobody asked for must not mix with this one.
            self.surplus = True
            self._on_body = _ignore

    def _on_headers_complete(self) -> bool:
        status = self.get_code()
        if status >= 200 and not self.head_complete:
            self.head_complete = True
            self.status = status
            # Trailers must not look like headers.
            self._on_header_field = self._on_header_value = _ignore
        return self._is_head

    def _on_message_complete(self) -> None:
        if self.head_complete:
            self.complete = True
        else:
            self._names.clear()
            self._values.clear()


def _ignore(part: str | bytearray) -> None:
    pass

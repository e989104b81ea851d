"""Reads a request body from the server's input stream, whole and capped.

Django sees no body when a client sends one in chunks, so the stream is read here.
"""

from __future__ import annotations

from typing import Any

from proxy import errors

_STEP = 64 * 1024


def read_body(environ: dict[str, Any], limit: int) -> bytes:
    """Return the body; raises BodyTooLarge beyond ``limit`` bytes, BadBody if torn."""
    length = environ.get("CONTENT_LENGTH") or None
    if length is not None:
        return _sized(environ["wsgi.input"], _parse_length(length), limit)
    if "HTTP_TRANSFER_ENCODING" not in environ:
        return b""
    return _unsized(environ["wsgi.input"], limit)


def _parse_length(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise errors.BadBody("Content-Length is not a number")
    return int(text)


def _sized(stream: Any, length: int, limit: int) -> bytes:
    if length > limit:
        raise too_large(limit)
    body = stream.read(length)
    while len(body) < length:
        more = stream.read(length - len(body))
        if not more:
            raise errors.BadBody("the request body ended early")
        body += more
    return bytes(body)


def _unsized(stream: Any, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := stream.read(_STEP):
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
    return b"".join(parts)


def too_large(limit: int) -> errors.BodyTooLarge:
    """Return the error for a body beyond the limit."""
    size = limit / (1024 * 1024)
    return errors.BodyTooLarge(
        f"Request body too large. The maximum allowed request body size is {size:g}MiB."
    )

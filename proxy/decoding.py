"""Undoes content encodings that an upstream used although identity was asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import brotli
import httpx

PIECE = 64 * 1024
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class _Decoder(Protocol):
    def decode(self, content: bytes) -> Iterator[bytes]:
        """Yield what these bytes become, in pieces of limited size."""

    def finish(self) -> None:
        """Raise ValueError unless the encoded data came to its own end."""


def decoded(response: httpx.Response) -> Iterator[bytes]:
    """Iterate the response's body with its content encodings undone.

    Empty chunks (ticks of silence) pass. Raises httpx.DecodingError for an unknown
    encoding, for garbage, and for data that ends early or goes on after its end; a
    body without any byte (of a HEAD request, say) is none of these.
    """
    pieces: Iterator[bytes] = iter(response.stream)  # type: ignore[arg-type]
    names = response.headers.get("content-encoding", "").lower().split(",")
    for name in reversed([name.strip() for name in names]):
        if name not in ("", "identity"):
            pieces = _undo(name, pieces)
    return pieces


def _undo(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        decoder = _DECODERS[name]()
    except KeyError:
        raise httpx.DecodingError(f"unknown content encoding {name[:40]!r}") from None
    return _run(name, decoder, pieces)


def _run(name: str, decoder: _Decoder, pieces: Iterator[bytes]) -> Iterator[bytes]:
    is_empty = True
    try:
        for piece in pieces:
            if piece:
                is_empty = False
                yield from decoder.decode(piece)
            else:
                yield piece
        if not is_empty:
            decoder.finish()
    except (zlib.error, brotli.error, ValueError) as error:
        raise httpx.DecodingError(f"broken {name} content: {error}") from error


class _Zlib:
    """gzip (one or several members), or one stream of another zlib format."""

    def __init__(self, window: int = _GZIP_WINDOW) -> None:
        self._window = window
        self._stream = zlib.decompressobj(window)

    def decode(self, content: bytes) -> Iterator[bytes]:
        while content:
            if self._stream.eof:
                self._stream = self._next_member()
            if piece := self._stream.decompress(content, PIECE):
                yield piece
            content = self._stream.unconsumed_tail or self._stream.unused_data

    def finish(self) -> None:
        if not self._stream.eof:
            raise ValueError("it ends early")

    def _next_member(self) -> zlib._Decompress:
        if self._window != _GZIP_WINDOW:
            raise ValueError("it goes on after its end")
        return zlib.decompressobj(self._window)


class _Deflate:
    """What servers call deflate: the zlib format, or bare deflate data."""

    def __init__(self) -> None:
        self._inner: _Zlib | None = None

    def decode(self, content: bytes) -> Iterator[bytes]:
        if self._inner is None:
            # A zlib header says method 8 in its low four bits.
            bare = content[0] & 0x0F != 8
            self._inner = _Zlib(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS)
        return self._inner.decode(content)

    def finish(self) -> None:
        if self._inner is not None:
            self._inner.finish()


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def decode(self, content: bytes) -> Iterator[bytes]:
        piece = self._stream.process(content, output_buffer_limit=PIECE)
        while piece:
            yield piece
            piece = self._stream.process(b"", output_buffer_limit=PIECE)

    def finish(self) -> None:
        if not self._stream.is_finished():
            raise ValueError("it ends early")


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "gzip": _Zlib,
    "x-gzip": _Zlib,
    "deflate": _Deflate,
    "br": _Brotli,
}

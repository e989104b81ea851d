"""decoded: content encodings undone at any split, and what is refused."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import brotli
import httpx
import pytest

from proxy.decoding import decoded

TEXT = b"data: The quick brown fox jumps over the lazy dog.\n\n" * 3000


def bare_deflate(content: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(content) + encoder.flush()


class Pieces(httpx.SyncByteStream):
    def __init__(self, content: bytes, size: int, *, ticks: bool = False) -> None:
        self._content, self._size, self._ticks = content, size, ticks

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self._content), self._size):
            if self._ticks:
                yield b""
            yield self._content[at : at + self._size]


def answer(encoding: str, pieces: Pieces) -> httpx.Response:
    return httpx.Response(200, headers={"content-encoding": encoding}, stream=pieces)


ENCODED = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": ("X-GZIP", gzip.compress(TEXT)),
    "gzip in two members": (
        "gzip",
        gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:]),
    ),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "deflate without a header": ("deflate", bare_deflate(TEXT)),
    "br": ("br", brotli.compress(TEXT)),
    "two after each other": ("br, gzip", gzip.compress(brotli.compress(TEXT))),
    "identity": ("identity", TEXT),
}


@pytest.mark.parametrize("size", [1, 37, 1_000_000])
@pytest.mark.parametrize(("encoding", "content"), ENCODED.values(), ids=ENCODED)
def test_content_is_decoded_at_any_split(encoding, content, size):
    pieces = list(decoded(answer(encoding, Pieces(content, size))))
    assert b"".join(pieces) == TEXT
    assert b"" not in pieces


def test_ticks_pass():
    content = gzip.compress(TEXT)
    pieces = list(decoded(answer("gzip", Pieces(content, 100, ticks=True))))
    assert pieces.count(b"") == -(-len(content) // 100)
    assert b"".join(pieces) == TEXT


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", gzip.compress(bytes(20_000_000))),
        ("br", brotli.compress(bytes(20_000_000), quality=2)),
    ],
    ids=["gzip", "br"],
)
def test_a_bomb_comes_in_small_pieces(encoding, bomb):
    sizes = [len(p) for p in decoded(answer(encoding, Pieces(bomb, 1_000_000)))]
    assert sum(sizes) == 20_000_000
    assert max(sizes) <= 128 * 1024


BROKEN = {
    "gzip that ends early": ("gzip", gzip.compress(TEXT)[:-3]),
    "gzip of the wrong length": ("gzip", gzip.compress(TEXT)[:-4] + b"\x01\0\0\0"),
    "gzip with a wrong checksum": ("gzip", gzip.compress(TEXT)[:-8] + bytes(8)),
    "gzip that goes on": ("gzip", gzip.compress(TEXT) + b"junk"),
    "no gzip at all": ("gzip", b"hello"),
    "deflate that ends early": ("deflate", zlib.compress(TEXT)[:-5]),
    "deflate that goes on": ("deflate", zlib.compress(TEXT) + b"1"),
    "no deflate at all": ("deflate", b"\xff\xff\xff"),
    "br that ends early": ("br", brotli.compress(TEXT)[:-1]),
    "br that goes on": ("br", brotli.compress(TEXT) + b"more"),
    "an unknown encoding": ("zstd", b"anything"),
    "encodings without end": (", ".join(["gzip"] * 50), gzip.compress(TEXT)),
}


@pytest.mark.parametrize("size", [7, 1_000_000])
@pytest.mark.parametrize(("encoding", "content"), BROKEN.values(), ids=BROKEN)
def test_broken_content_raises(encoding, content, size):
    with pytest.raises(httpx.DecodingError):
        b"".join(decoded(answer(encoding, Pieces(content, size))))


def test_a_body_without_bytes_is_fine():
    assert list(decoded(answer("gzip", Pieces(b"", 1)))) == []

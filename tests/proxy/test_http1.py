"""HTTP/1.1 as bytes: what a head may contain, and responses at any split."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1 import ResponseParser, render

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A:\r\n\r\n"
BODY = b"5\r\nhello\r\n1;ext=1\r\n,\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"


@given(st.lists(st.integers(1, len(BODY)), max_size=12))
def test_a_body_is_the_same_however_it_is_split(cuts: list[int]):
    parser = ResponseParser("POST")
    parser.feed(HEAD)
    content = b""
    at = 0
    for cut in [*sorted(set(cuts)), len(BODY)]:
        parser.feed(BODY[at:cut])
        content += parser.take()
        at = cut
        if parser.complete:
            break
    assert content == b"hello, world"
    assert parser.complete
    assert not parser.surplus
    assert parser.headers() == [(b"Transfer-Encoding", b"chunked"), (b"X-A", b"")]


def test_a_response_behind_the_end_is_surplus_and_changes_nothing():
    parser = ResponseParser("POST")
    parser.feed(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
    parser.feed(b"HTTP/1.1 500 No\r\nX-B: 1\r\nContent-Length: 2\r\n\r\nno")
    assert (parser.status, parser.take(), parser.surplus) == (201, b"ok", True)
    assert parser.headers() == [(b"Content-Length", b"2")]


def test_a_request_states_its_own_length_whatever_the_headers_say():
    request = httpx.Request(
        "POST",
        "http://upstream.example/v1/messages?a=b",
        headers={"Content-Length": "99", "Transfer-Encoding": "chunked"},
        content=b"body",
    )
    head, body = render(request)
    assert head.startswith(b"POST /v1/messages?a=b HTTP/1.1\r\n")
    assert head.endswith(b"\r\nContent-Length: 4\r\n\r\n")
    assert b"99" not in head
    assert b"chunked" not in head
    assert body == b"body"


@pytest.mark.parametrize("method", ["GE\nT", "GET / HTTP/1.1\r\nX: "])
def test_a_method_cannot_smuggle_a_line(method):
    with pytest.raises(httpx.LocalProtocolError):
        render(httpx.Request(method, "http://upstream.example/"))

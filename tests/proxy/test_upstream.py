"""The transport against real sockets: exchanges, streams, failures, reuse, TLS."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import httpx
import pytest
from cryptography import x509

from proxy import upstream as transports
from proxy.decoding import decoded
from proxy.dialling import default_context
from proxy.upstream import GeventTransport, new_request
from tests.answers import Answer, SeenRequest
from tests.certificates import server_context, write_certificate
from tests.upstream import FakeUpstream

BODY = b'{"model": "m", "messages": []}'
STREAM = b'{"model": "m", "messages": [], "stream": true}'


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def transport() -> Iterator[GeventTransport]:
    with GeventTransport() as transport:
        yield transport


class Caller:
    """Sends requests to one upstream; seconds are short so that tests are."""

    def __init__(self, transport: GeventTransport, url: str) -> None:
        self.transport = transport
        self.url = url

    def open(
        self,
        body: bytes = BODY,
        *,
        path: str = "/v1/messages",
        method: str = "POST",
        headers: dict[str, str] | None = None,
        read: float | None = 5.0,
        **extensions: Any,
    ) -> httpx.Response:
        timeout = {"connect": 2.0, "read": read, "write": 2.0, "pool": None}
        request = httpx.Request(
            method,
            self.url + path,
            content=body,
            headers={"x-api-key": "key-a", **(headers or {})},
            extensions={"timeout": timeout, **extensions},
        )
        return self.transport.handle_request(request)

    def __call__(self, *args: Any, **options: Any) -> tuple[int, bytes]:
        response = self.open(*args, **options)
        try:
            return response.status_code, b"".join(response.stream)
        finally:
            response.close()


@pytest.fixture
def call(transport: GeventTransport, upstream: FakeUpstream) -> Caller:
    return Caller(transport, upstream.url)


def until(is_true: Callable[[], bool]) -> None:
    """Let greenlets run until something holds."""
    with gevent.Timeout(10):
        while not is_true():
            gevent.sleep(0.005)


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


# What is sent


def test_a_request_arrives_as_it_was_given(call, upstream):
    url = httpx.URL(f"{upstream.url}/api/v1/messages?beta=true&x=%20")
    headers = [("X-Api-Key", "key-a"), ("anthropic-beta", "a,b"), ("X-Twice", "1")]
    headers.append(("X-Twice", "2"))
    response = call.transport.handle_request(
        new_request("POST", url, headers, b"\x00\xffbody", {})
    )
    response.read()
    seen = upstream.last
    assert (seen.method, seen.target) == ("POST", "/api/v1/messages?beta=true&x=%20")
    assert seen.headers == [
        ("Host", f"127.0.0.1:{upstream.port}"),
        *headers,
        ("Content-Length", "6"),
    ]
    assert seen.body == b"\x00\xffbody"


def test_header_values_pass_as_the_bytes_that_wsgi_decoded(call, upstream):
    url = httpx.URL(f"{upstream.url}/v1/messages")
    request = new_request("POST", url, [("X-Name", "caf\xc3\xa9")], BODY, {})
    call.transport.handle_request(request).read()
    assert upstream.last.header("x-name") == "caf\xc3\xa9"


def test_a_header_that_http_cannot_carry_is_an_error(upstream):
    with pytest.raises(httpx.LocalProtocolError, match="Latin-1"):
        new_request("POST", httpx.URL(upstream.url), [("X-Key", "sk-\u2026")], b"", {})


def test_httpx_requests_are_sent_alike(call, upstream):
    call(b"{}", headers={"User-Agent": "me"})
    assert upstream.last.header("host") == f"127.0.0.1:{upstream.port}"
    assert upstream.last.header("content-length") == "2"


def test_a_large_body_arrives_whole(call, upstream):
    body = bytes(range(256)) * 16_000
    assert call(body)[0] == 200
    assert upstream.last.body == body


def test_a_body_made_by_an_iterator_is_sent_with_its_length(transport, upstream):
    request = httpx.Request("POST", upstream.url, content=iter([b"ab", b"c"]))
    transport.handle_request(request).read()
    assert upstream.last.body == b"abc"
    assert upstream.last.header("content-length") == "3"
    assert upstream.last.header("transfer-encoding") == ""


@pytest.mark.parametrize(("method", "length"), [("POST", "0"), ("GET", "")])
def test_an_empty_body_has_a_length_where_one_is_expected(
    call, upstream, method, length
):
    call(b"", method=method)
    assert upstream.last.header("content-length") == length


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb"])
def test_a_header_cannot_smuggle_a_line(call, upstream, value):
    with pytest.raises(httpx.LocalProtocolError):
        call(headers={"X-Key": value})
    assert upstream.requests == []


def test_only_http_and_https_are_spoken(transport):
    with pytest.raises(httpx.UnsupportedProtocol):
        transport.handle_request(httpx.Request("GET", "ftp://127.0.0.1/"))


# What comes back


def test_a_blocking_answer_comes_back_with_status_headers_and_bytes(call, upstream):
    upstream.script("key-a", 201, {"X-Kind": "caf\xe9", "X-Empty": ""}, body=b"\x00{}")
    response = call.open()
    assert response.status_code == 201
    assert response.headers["x-kind"] == "caf\xe9"
    assert response.headers["x-empty"] == ""
    assert b"".join(response.stream) == b"\x00{}"


@pytest.mark.parametrize("seed", range(8))
def test_a_stream_arrives_byte_for_byte_at_any_split(call, upstream, seed):
    upstream.script("key-a", text="The quick brown fox. " * 40, deltas=60, seed=seed)
    status, content = call(STREAM)
    assert status == 200
    assert hashlib.sha256(content).hexdigest() == upstream.last.sha256
    assert content.endswith(b'data: {"type":"message_stop"}\n\n')


def test_a_stream_of_one_byte_packets_arrives(call, upstream):
    upstream.script("key-a", split=1)
    assert call(STREAM)[1] == upstream.last.sent


def test_bytes_are_handed_over_when_they_arrive(call, upstream):
    upstream.script("key-a", chunks=[b"one", 30.0, b"two"])
    response = call.open(STREAM)
    assert next(iter(response.stream)) == b"one"
    response.close()


def test_a_large_answer_comes_in_pieces_of_64_kib_at_most(call, upstream):
    upstream.script("key-a", body=b"x" * 1_000_000)
    response = call.open()
    sizes = [len(piece) for piece in response.stream]
    assert sum(sizes) == 1_000_000
    assert max(sizes) <= 64 * 1024


def test_a_close_delimited_body_ends_with_its_connection(call, upstream):
    upstream.script("key-a", body=b"whole", until_close=True)
    assert call() == (200, b"whole")
    assert call.transport.pool.count_idle() == 0


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_ends_with_its_head(call, upstream, status):
    upstream.script("key-a", raw=b"HTTP/1.1 %d X\r\nETag: a\r\n\r\n" % status)
    assert call() == (status, b"")


def test_a_head_request_has_no_body_to_wait_for(call, upstream):
    upstream.script(None, raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    assert call(b"", method="HEAD") == (200, b"")


@pytest.mark.parametrize("split", [None, 1, 7])
def test_interim_responses_are_passed_over(call, upstream, split):
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nX-Final: 1\r\nContent-Length: 2\r\n\r\nok"
    upstream.script("key-a", raw=interim + hints + final, split=split)
    response = call.open()
    assert response.headers.multi_items() == [("x-final", "1"), ("content-length", "2")]
    assert b"".join(response.stream) == b"ok"


def test_trailers_do_not_become_headers(call, upstream):
    raw = CHUNKED_HEAD + b"2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n"
    upstream.script("key-a", raw=raw)
    response = call.open()
    assert b"".join(response.stream) == b"ok"
    assert "x-late" not in response.headers


# Bodies that are cut


CUT = {
    "chunked, cut between chunks": {"chunks": [b"abc", b"def"], "cut_after": 3},
    "chunked, cut inside a chunk": {"raw": CHUNKED_HEAD + b"5\r\nab"},
    "chunked, cut before the last chunk": {"raw": CHUNKED_HEAD + chunked(b"ab")},
    "chunked, cut inside the last chunk": {"raw": CHUNKED_HEAD + b"1\r\na\r\n0\r\n"},
    "length, cut": {"body": b"abcdef", "cut_after": 3},
    "length, cut before the first byte": {"body": b"abcdef", "cut_after": 0},
    "length, announced too long": {"body": b"abcdef", "content_length": 7},
}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_a_cut_body_raises(call, upstream, answer):
    upstream.script("key-a", **answer)
    response = call.open()
    with pytest.raises(httpx.RemoteProtocolError, match="before the response was"):
        b"".join(response.stream)


@pytest.mark.parametrize("until_close", [False, True])
def test_a_reset_body_raises(call, upstream, until_close):
    upstream.script("key-a", body=b"ab" * 9, until_close=until_close, reset_after=3)
    response = call.open()
    with pytest.raises(httpx.ReadError, match="reset"):
        b"".join(response.stream)


def test_what_arrived_before_a_cut_is_handed_over_first(call, upstream):
    upstream.script("key-a", chunks=[b"abc", 0.05, b"def"], cut_after=3)
    pieces = iter(call.open().stream)
    assert next(pieces) == b"abc"
    with pytest.raises(httpx.RemoteProtocolError):
        next(pieces)


NOT_HTTP = {
    "no HTTP": b"hello\r\n\r\n",
    "lengths that contradict": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\na",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
    b"Connection: upgrade\r\n\r\nxyz",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X-A: %s\r\n" % (b"a" * 70_000),
    "endless interim heads": b"HTTP/1.1 103 Early\r\n\r\n" * 5000,
    "an end inside the head": b"HTTP/1.1 200 OK\r\nX-A: b\r\n",
    "an end before the head": b"",
}


@pytest.mark.parametrize("raw", NOT_HTTP.values(), ids=NOT_HTTP)
def test_an_answer_that_is_no_response_raises(call, upstream, raw):
    upstream.script("key-a", raw=raw)
    with pytest.raises(httpx.RemoteProtocolError):
        call.open()
    assert len(upstream.requests) == 1


def test_a_broken_chunk_raises_while_reading(call, upstream):
    upstream.script("key-a", raw=CHUNKED_HEAD + b"zz\r\n")
    with pytest.raises(httpx.RemoteProtocolError, match="not HTTP"):
        call()


# Time


def test_silence_before_the_head_is_a_read_timeout(call, upstream):
    upstream.script("key-a", hang=True)
    with pytest.raises(httpx.ReadTimeout, match=r"silent for 0\.05 s"):
        call.open(read=0.05)
    upstream.wait_until(lambda: upstream.last.client_left)


def test_silence_inside_the_body_is_a_read_timeout(call, upstream):
    upstream.script("key-a", chunks=[b"one", b"two"], silent_after=3)
    pieces = iter(call.open(read=0.05).stream)
    assert next(pieces) == b"one"
    with pytest.raises(httpx.ReadTimeout):
        next(pieces)
    upstream.wait_until(lambda: upstream.last.client_left)


def test_each_tick_of_silence_yields_nothing_until_the_read_timeout(call, upstream):
    upstream.script("key-a", chunks=[b"one", b"two"], silent_after=3)
    pieces = iter(call.open(read=0.25, tick=0.05).stream)
    assert next(pieces) == b"one"
    ticks = []
    with pytest.raises(httpx.ReadTimeout):
        ticks.extend(pieces)
    assert set(ticks) == {b""}
    assert 3 <= len(ticks) <= 5


def test_ticks_stop_when_bytes_come(call, upstream):
    upstream.script("key-a", chunks=[b"one", 0.12, b"two"])
    pieces = list(call.open(tick=0.05).stream)
    assert pieces == [b"one", b"", b"", b"two"]


def test_there_is_no_tick_without_silence(call, upstream):
    upstream.script("key-a", chunks=[b"a", 0.03] * 8 + [b"b"])
    assert b"" not in list(call.open(tick=0.2).stream)


def test_a_slow_reader_is_not_mistaken_for_a_silent_upstream(call, upstream):
    upstream.script("key-a", chunks=[b"one", b"two", 0.01, b"three"])
    received = []
    for piece in call.open(read=0.1, tick=0.09).stream:
        received.append(piece)
        gevent.sleep(0.15)
    assert b"".join(received) == b"onetwothree"
    assert b"" not in received


def test_the_total_time_ends_a_drip_that_is_never_silent(call, upstream):
    upstream.script("key-a", chunks=[b"a", 0.02] * 1000)
    started = time.monotonic()
    with pytest.raises(httpx.ReadTimeout, match="total time"):
        call(read=5.0, total=0.2)
    assert time.monotonic() - started < 10
    upstream.wait_until(lambda: upstream.last.client_left)


def test_the_total_time_covers_the_wait_for_the_head(call, upstream):
    upstream.script("key-a", hang=True)
    with pytest.raises(httpx.ReadTimeout, match="total time"):
        call(read=None, total=0.1)


def test_a_total_time_that_is_over_at_once_is_a_timeout(call, upstream):
    with pytest.raises(httpx.TimeoutException):
        call(b"x" * 20_000_000, total=-1.0)


def test_an_upstream_that_does_not_read_is_a_write_timeout(transport):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        request = httpx.Request(
            "POST",
            f"http://127.0.0.1:{deaf.getsockname()[1]}/",
            content=b"x" * 20_000_000,
            extensions={"timeout": {"write": 0.1}},
        )
        with pytest.raises(httpx.WriteTimeout):
            transport.handle_request(request)


# Reuse


def test_a_connection_is_reused_after_a_complete_answer(call, upstream):
    for body in (BODY, STREAM, BODY):
        call(body)
    assert upstream.connections == 1
    assert call.transport.pool.count_idle() == 1


def test_a_connection_is_free_before_the_last_bytes_are_handed_over(call, upstream):
    upstream.script("key-a", chunks=[b"one", 0.02, b"two"])
    pieces = iter(call.open().stream)
    assert next(pieces) == b"one"
    last = next(pieces)
    while last != b"two":
        last = next(pieces)
    # The chunk that ends the body may come by itself.
    assert next(pieces, b"") == b""
    assert call.transport.pool.count_idle() == 1


KEEP_NOT = {
    "upstream says close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    b"Content-Length: 2\r\n\r\nok",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "surplus bytes": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokokok",
    "a surplus response": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
}


@pytest.mark.parametrize("raw", KEEP_NOT.values(), ids=KEEP_NOT)
def test_a_connection_is_not_reused_when(call, upstream, raw):
    upstream.script("key-a", raw=raw)
    assert call() == (200, b"ok")
    assert call.transport.pool.count_idle() == 0


def test_closing_an_unfinished_answer_closes_its_connection(call, upstream):
    upstream.script("key-a", chunks=[b"one", 30.0, b"two"])
    response = call.open()
    next(iter(response.stream))
    response.close()
    response.close()
    assert upstream.aborted.wait(5)
    assert call.transport.pool.count_idle() == 0


def test_reading_after_close_raises(call, upstream):
    upstream.script("key-a", chunks=[b"one", 30.0, b"two"])
    response = call.open()
    pieces = iter(response.stream)
    next(pieces)
    response.close()
    with pytest.raises(httpx.ReadError, match="closed"):
        next(pieces)


def test_an_idle_connection_that_upstream_closes_is_forgotten(call, upstream):
    call()
    upstream.refuse()
    until(lambda: call.transport.pool.count_idle() == 0)
    upstream.start()
    assert call()[0] == 200


def test_an_idle_connection_expires(upstream):
    with GeventTransport(idle_expiry=0.05) as transport:
        call = Caller(transport, upstream.url)
        call()
        assert transport.pool.count_idle() == 1
        gevent.sleep(0.15)
        assert transport.pool.count_idle() == 0


def test_only_so_many_idle_connections_are_kept(upstream):
    with GeventTransport(idle_limit=2) as transport:
        call = Caller(transport, upstream.url)
        upstream.script(None, wait=0.1)
        gevent.joinall([gevent.spawn(call) for _ in range(5)], raise_error=True)
        assert upstream.connections == 5
        assert transport.pool.count_idle() == 2


def test_closing_the_transport_closes_idle_connections(transport, upstream):
    Caller(transport, upstream.url)()
    transport.close()
    assert transport.pool.count_idle() == 0


# The keep-alive race (rule 3)


@pytest.mark.parametrize("reset_after", [None, 0], ids=["end", "reset"])
def test_a_kept_connection_that_ends_unanswered_is_replaced_once(
    call, upstream, reset_after
):
    call()
    upstream.script("key-a", raw=b"", reset_after=reset_after, times=1)
    assert call()[0] == 200
    assert len(upstream.requests) == 3
    assert upstream.requests[1].body == upstream.requests[2].body
    assert upstream.connections == 2


def test_the_second_connection_gets_no_second_chance(call, upstream):
    call()
    upstream.script("key-a", raw=b"")
    with pytest.raises(httpx.RemoteProtocolError, match="before the response's head"):
        call()
    assert len(upstream.requests) == 3


def test_a_fresh_connection_that_ends_unanswered_is_not_replaced(call, upstream):
    upstream.script("key-a", raw=b"")
    with pytest.raises(httpx.RemoteProtocolError):
        call()
    assert len(upstream.requests) == 1


def test_a_kept_connection_that_began_to_answer_is_not_replaced(call, upstream):
    call()
    upstream.script("key-a", raw=b"HTTP/1.1 2")
    with pytest.raises(httpx.RemoteProtocolError):
        call()
    assert len(upstream.requests) == 2


def test_a_late_end_of_a_kept_connection_is_no_race(call, upstream, monkeypatch):
    monkeypatch.setattr(transports, "RACE_SECONDS", 0.05)
    call()
    upstream.script("key-a", raw=b"", wait=0.1)
    with pytest.raises(httpx.RemoteProtocolError, match="before the response's head"):
        call()
    assert len(upstream.requests) == 2


def test_silence_on_a_kept_connection_is_not_repeated(call, upstream):
    call()
    upstream.script("key-a", hang=True)
    with pytest.raises(httpx.ReadTimeout):
        call(read=0.05)
    assert len(upstream.requests) == 2


def test_an_answer_given_before_the_body_was_read_is_heard(transport):
    def refuse_early(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse_early, args=(listener,)).start()
        call = Caller(transport, f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert call(b"x" * 20_000_000) == (413, b"no")


# Giving up


def test_an_abort_wakes_a_reader_that_waits_for_the_head(call, upstream):
    upstream.script("key-a", hang=True)
    aborts: list[Callable[[], None]] = []

    def abort_on_the_hub() -> None:
        until(lambda: upstream.requests != [])
        gevent.get_hub().loop.run_callback(aborts[0])

    gevent.spawn(abort_on_the_hub)
    started = time.monotonic()
    with pytest.raises(httpx.ReadError, match="given up"):
        call.open(read=60.0, on_socket=aborts.append)
    assert time.monotonic() - started < 30
    assert upstream.aborted.wait(5)


def test_an_abort_wakes_a_reader_of_the_body(call, upstream):
    upstream.script("key-a", chunks=[b"one", 30.0, b"two"])
    response = call.open()
    pieces = iter(response.stream)
    next(pieces)
    gevent.spawn(response.extensions["abort"])
    with pytest.raises(httpx.ReadError, match="given up"):
        next(pieces)
    assert upstream.aborted.wait(5)


def test_an_abort_reaches_upstream_while_nobody_reads(call, upstream):
    upstream.script("key-a", chunks=[b"one", 30.0, b"two"])
    response = call.open()
    pieces = iter(response.stream)
    next(pieces)
    response.extensions["abort"]()
    assert upstream.aborted.wait(5)
    with pytest.raises(httpx.ReadError, match="given up"):
        next(pieces)


def test_an_abort_wakes_a_writer(transport):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        call = Caller(transport, f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(httpx.TransportError):
            call(
                b"x" * 20_000_000,
                on_socket=lambda abort: gevent.spawn_later(0.05, abort),
            )


def test_an_abort_after_the_end_spares_the_next_exchange(call, upstream):
    first = call.open()
    b"".join(first.stream)
    upstream.script("key-a", chunks=[b"one", 0.05, b"two"])
    second = call.open()
    first.extensions["abort"]()
    assert b"".join(second.stream) == b"onetwo"
    assert upstream.connections == 1


def test_on_socket_is_called_again_when_the_request_is_sent_again(call, upstream):
    call()
    upstream.script("key-a", raw=b"", times=1)
    aborts: list[Callable[[], None]] = []
    call(on_socket=aborts.append)
    assert len(aborts) == 2


def test_an_aborted_request_is_not_sent_again(call, upstream):
    call()
    upstream.script("key-a", hang=True)
    with pytest.raises(httpx.ReadError):
        call(on_socket=lambda abort: gevent.spawn_later(0.05, abort))
    assert len(upstream.requests) == 2


def test_killing_the_greenlet_closes_the_connection(call, upstream):
    upstream.script("key-a", hang=True)
    greenlet = gevent.spawn(call)
    until(lambda: upstream.requests != [])
    greenlet.kill()
    assert upstream.aborted.wait(5)


# Many at a time


def test_five_hundred_exchanges_run_at_the_same_time(call, upstream):
    def answer_when_all_are_here(request: SeenRequest) -> Answer:
        upstream.wait_for(500, seconds=30)
        return Answer(chunks=[b"one", 0.01, b"two"])

    upstream.answer_with(answer_when_all_are_here)
    greenlets = [gevent.spawn(call, STREAM, read=60.0) for _ in range(500)]
    gevent.joinall(greenlets, raise_error=True)
    assert {greenlet.value for greenlet in greenlets} == {(200, b"onetwo")}
    assert upstream.connections == 500
    assert call.transport.pool.count_idle() == 32


def test_threads_share_a_transport_but_no_connection(call, upstream):
    call()
    results: list[tuple[int, bytes]] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: results.append(call()))
        thread.start()
        thread.join()
    call()
    assert [status for status, _ in results] == [200, 200]
    assert upstream.connections == 3


# Connecting


def test_a_refused_connection_says_so(transport, upstream):
    upstream.refuse()
    with pytest.raises(httpx.ConnectError, match=r"TCP: 127\.0\.0\.1:\d+: .*refused"):
        Caller(transport, upstream.url)()


def test_an_unknown_name_says_so(transport):
    with pytest.raises(httpx.ConnectError, match=r"DNS: nowhere\.invalid"):
        Caller(transport, "http://nowhere.invalid")()


@pytest.fixture
def full() -> Iterator[str]:
    """The URL of a listener whose queue is full: connecting to it hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


def test_a_hanging_connect_times_out(transport, full):
    request = httpx.Request(
        "GET", f"http://{full}/", extensions={"timeout": {"connect": 0.1}}
    )
    with pytest.raises(httpx.ConnectTimeout, match="TCP"):
        transport.handle_request(request)


def test_the_total_time_covers_connecting(transport, full):
    request = httpx.Request("GET", f"http://{full}/", extensions={"total": 0.1})
    with pytest.raises(httpx.ConnectTimeout):
        transport.handle_request(request)


def test_the_next_address_of_a_name_is_tried(transport, upstream):
    # localhost is ::1 first where IPv6 exists, and nobody listens there.
    call = Caller(transport, f"http://localhost:{upstream.port}")
    assert call()[0] == 200
    assert upstream.last.header("host") == f"localhost:{upstream.port}"


def test_a_guard_sees_every_address_and_can_forbid_it(upstream):
    seen: list[str] = []

    def forbid(ip: str) -> None:
        seen.append(ip)
        raise ValueError("not from here")

    with GeventTransport(resolve_guard=forbid) as transport:
        for host in ("127.0.0.1", "localhost"):
            call = Caller(transport, f"http://{host}:{upstream.port}")
            with pytest.raises(httpx.ConnectError, match="not from here"):
                call()
    assert set(seen) <= {"127.0.0.1", "::1"}
    assert upstream.connections == 0


def test_a_guard_that_allows_lets_the_call_pass(upstream):
    with GeventTransport(resolve_guard=lambda ip: None) as transport:
        assert Caller(transport, upstream.url)()[0] == 200


# TLS


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(pem: Path) -> Iterator[FakeUpstream]:
    with FakeUpstream(tls=server_context(pem)) as upstream:
        yield upstream


@pytest.fixture
def trusting(
    pem: Path, secure: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Caller]:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with GeventTransport() as transport:
        yield Caller(transport, secure.url)


def test_tls_exchanges_share_a_connection(trusting, secure):
    secure.script("key-a", text="The quick brown fox. " * 4000, seed=3)
    for body in (BODY, STREAM, BODY):
        assert trusting(body)[1] == secure.last.sent
    assert secure.connections == 1


def test_tls_carries_large_bodies_both_ways(trusting, secure):
    secure.script("key-a", body=b"y" * 3_000_000)
    body = b"x" * 3_000_000
    assert trusting(body) == (200, b"y" * 3_000_000)
    assert secure.last.body == body


def test_tls_silence_ticks_and_times_out(trusting, secure):
    secure.script("key-a", chunks=[b"one", b"two"], silent_after=3)
    pieces = iter(trusting.open(read=0.15, tick=0.05).stream)
    assert [next(pieces), next(pieces)] == [b"one", b""]
    with pytest.raises(httpx.ReadTimeout):
        list(pieces)


def test_tls_abort_wakes_the_reader(trusting, secure):
    secure.script("key-a", chunks=[b"one", 30.0, b"two"])
    response = trusting.open()
    pieces = iter(response.stream)
    next(pieces)
    gevent.spawn(response.extensions["abort"])
    with pytest.raises(httpx.ReadError, match="given up"):
        next(pieces)
    assert secure.aborted.wait(5)


def test_tls_body_may_end_with_its_session(trusting, secure):
    secure.script("key-a", body=b"whole", until_close=True)
    assert trusting() == (200, b"whole")


def test_tls_body_that_ends_without_a_goodbye_raises(trusting, secure):
    secure.script("key-a", body=b"whole", until_close=True, cut_after=3)
    with pytest.raises(httpx.ReadError):
        trusting()


def test_an_unknown_certificate_is_refused(transport, secure):
    with pytest.raises(httpx.ConnectError, match="TLS: .*certificate verify failed"):
        Caller(transport, secure.url)()
    assert secure.requests == []


def test_a_certificate_for_another_name_is_refused(tmp_path, monkeypatch):
    pem = write_certificate(tmp_path, (x509.DNSName("elsewhere.example"),))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with (
        FakeUpstream(tls=server_context(pem)) as elsewhere,
        GeventTransport() as transport,
        pytest.raises(httpx.ConnectError, match="TLS: .*not valid for '127"),
    ):
        Caller(transport, elsewhere.url)()


def test_a_hanging_handshake_times_out(transport):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        request = httpx.Request(
            "GET",
            f"https://127.0.0.1:{mute.getsockname()[1]}/",
            extensions={"timeout": {"connect": 5.0, "tls": 0.1}},
        )
        with pytest.raises(httpx.ConnectTimeout, match="TLS"):
            transport.handle_request(request)


def test_plain_http_on_a_tls_port_is_a_tls_error(transport, upstream):
    call = Caller(transport, upstream.url.replace("http:", "https:"))
    upstream.script(None, raw=b"nope")
    with pytest.raises((httpx.ConnectError, httpx.ConnectTimeout), match="TLS"):
        call.open()


def test_the_default_context_verifies_against_known_authorities(monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    assert default_context().cert_store_stats()["x509_ca"] > 50


# Around the transport


def test_what_upstream_compressed_unasked_is_decoded(call, upstream):
    upstream.script("key-a", text="The quick brown fox. " * 100, compress=True)
    response = call.open(STREAM)
    assert b"".join(decoded(response)) == upstream.last.sent
    assert response.headers["content-encoding"] == "gzip"


def test_a_compressed_stream_still_ticks(call, upstream):
    upstream.script("key-a", compress=True, split=40, delay=0.06)
    pieces = list(decoded(call.open(STREAM, tick=0.04)))
    assert b"" in pieces
    assert b"".join(pieces) == upstream.last.sent


def test_a_process_has_one_transport_that_tests_can_replace(upstream):
    first = transports.get_transport()
    assert transports.get_transport() is first
    other = httpx.MockTransport(lambda request: httpx.Response(418))
    transports.set_transport(other)
    assert transports.get_transport() is other
    transports.set_transport(None)
    assert transports.get_transport() is not first
    transports.set_transport(None)


def test_the_default_transport_never_calls_metadata_addresses():
    transports.set_transport(None)
    request = httpx.Request("GET", "http://169.254.169.254/latest/meta-data/")
    with pytest.raises(httpx.ConnectError, match="metadata"):
        transports.get_transport().handle_request(request)
    transports.set_transport(None)


def test_httpx_clients_can_use_the_transport(upstream):
    with httpx.Client(transport=GeventTransport()) as client:
        answer = client.post(f"{upstream.url}/v1/messages", content=BODY)
        assert answer.json()["type"] == "message"
        upstream.script(None, chunks=[b"a\n", b"b\n"])
        with client.stream("POST", f"{upstream.url}/v1/messages") as stream:
            assert list(stream.iter_lines()) == ["a", "b"]


def test_a_new_request_suits_other_transports(upstream):
    url = httpx.URL(f"{upstream.url}/v1/messages")
    request = new_request("POST", url, [("x-api-key", "key-a")], BODY, {})
    with httpx.HTTPTransport() as transport:
        response = transport.handle_request(request)
        assert response.status_code == 200
        response.read()
        response.close()
    assert upstream.last.body == BODY

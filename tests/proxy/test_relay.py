"""The relay passes bytes on unchanged, and never ends a stream that was cut quietly."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import dialects, errors
from proxy.classifier import Verdict
from proxy.failover import Answer
from proxy.relay import Relay, WholeEvents

START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1",'
    b'"model":"m","usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
)
DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"h\xc3\xa9"}}\n\n'
)
END = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{},'
    b'"usage":{"output_tokens":5}}\n\n'
)
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
STREAM = START + DELTA + END + STOP


class Source(httpx.SyncByteStream):
    """An upstream body made of chunks; an exception among them is raised."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def close(self) -> None:
        self.closed = True


class Journey:
    """A relay over a source, with what was settled and when."""

    def __init__(self, *chunks: bytes | Exception, gone: bool = False) -> None:
        self.source = Source(*chunks)
        self.settled: list[errors.GatewayError | None] = []
        self.passed: list[bytes] = []
        self.passed_before_settling = b""
        dialect = dialects.get("anthropic_messages")
        self.reader = dialect.stream_reader()
        answer = Answer(httpx.Response(200, stream=self.source), Verdict("accepted"))
        self.relay = Relay(
            answer,
            self.reader,
            dialect,
            settle=self._settle,
            is_gone=lambda: gone,
        )

    def _settle(self, error: errors.GatewayError | None) -> None:
        self.settled.append(error)
        self.passed_before_settling = b"".join(self.passed)

    def run(self) -> bytes:
        self.relay.open()
        for piece in self.relay:
            self.passed.append(piece)
        self.relay.close()
        return b"".join(self.passed)


def _split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False) if a < b]


@given(st.lists(st.integers(min_value=0), max_size=12))
def test_client_gets_the_same_bytes_at_any_split(cuts):
    journey = Journey(*_split(STREAM, cuts))
    assert journey.run() == STREAM
    assert journey.settled == [None]
    assert not journey.passed_before_settling.endswith(STOP)
    assert journey.source.closed


@given(st.integers(min_value=1, max_value=len(STREAM) - 1))
def test_cut_stream_ends_with_whole_events_and_an_error_event(size):
    journey = Journey(STREAM[:size], httpx.RemoteProtocolError("cut"))
    if b"\n\n" not in STREAM[:size]:
        with pytest.raises(errors.UpstreamBroke):
            journey.run()
    else:
        got = journey.run()
        whole = STREAM[: STREAM[:size].rfind(b"\n\n") + 2]
        assert got.startswith(whole + b"event: error\ndata: ")
        assert got.endswith(b"\n\n")
    assert isinstance(journey.settled[0], errors.UpstreamBroke)
    assert len(journey.settled) == 1


def test_stream_that_ends_cleanly_without_its_terminal_event_is_an_error():
    journey = Journey(START + DELTA)
    assert b"event: error" in journey.run()
    assert isinstance(journey.settled[0], errors.UpstreamBroke)


def test_stream_without_an_event_is_no_empty_success():
    journey = Journey()
    with pytest.raises(errors.UpstreamEmpty):
        journey.run()


def test_silence_is_filled_between_events_only():
    journey = Journey(b"", START, b"", DELTA[:10], b"", DELTA[10:], END, STOP)
    ping = dialects.get("anthropic_messages").heartbeat
    assert journey.run() == ping + START + ping + ping + DELTA + END + STOP


def test_silence_after_the_terminal_event_ends_the_answer():
    journey = Journey(STREAM, b"", b"never reached")
    assert journey.run() == STREAM


def test_failure_after_the_terminal_event_is_not_the_clients_concern():
    journey = Journey(STREAM, httpx.ReadError("reset"))
    assert journey.run() == STREAM
    assert journey.settled == [None]


def test_upstreams_own_error_event_is_passed_on_and_ends_the_stream():
    event = (
        b'event: error\ndata: {"type":"error","error":'
        b'{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    )
    journey = Journey(START + event)
    assert journey.run() == START + event
    assert journey.reader.turn.error.error_type == "overloaded"


def test_client_that_left_settles_without_an_error():
    journey = Journey(START, httpx.ReadError("aborted"), gone=True)
    assert journey.run() == START
    assert journey.settled == [None]


def test_relay_closed_before_its_first_step_still_settles():
    journey = Journey(STREAM)
    journey.relay.close()
    assert journey.settled == [None]
    assert journey.source.closed


def test_relay_closed_in_the_middle_settles_once():
    journey = Journey(START, DELTA, END, STOP)
    journey.relay.open()
    steps = iter(journey.relay)
    next(steps)
    journey.relay.close()
    assert journey.settled == [None]


@pytest.mark.parametrize("ending", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_whole_events_are_found_with_any_line_ending(ending):
    whole = WholeEvents()
    assert whole.push(b"data: 1" + ending[:1]) == b""
    assert whole.push(ending[1:] + b"data: 2") == b"data: 1" + ending
    assert whole.rest() == b"data: 2"


def test_large_event_in_small_pieces_is_kept_whole_without_copying_each_time():
    whole = WholeEvents()
    for _ in range(20_000):
        assert whole.push(b"x" * 100) == b""
    assert len(whole.push(b"\n\n")) == 2_000_002

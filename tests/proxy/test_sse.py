"""Framing of event streams: boundaries, splits, sizes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sse import EventSplitter, read_event

ENDINGS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
each_ending = pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)


def split(*chunks: bytes) -> list[bytes]:
    splitter = EventSplitter()
    found = [event for chunk in chunks for event in splitter.feed(chunk)]
    return [event.strip(b"\r\n") for event in found if event.strip(b"\r\n")]


@each_ending
def test_events_end_with_a_blank_line(end):
    stream = b"data: a" + end * 2 + b"event: b" + end + b"data: c" + end * 2
    assert split(stream) == [b"data: a", b"event: b" + end + b"data: c"]


@each_ending
def test_one_byte_a_packet_is_enough(end):
    stream = b"data: a" + end * 2 + b"event: b" + end + b"data: c" + end * 2
    assert split(*(bytes([byte]) for byte in stream)) == split(stream)


def test_line_endings_may_be_mixed():
    assert split(b"data: a\r\n\ndata: b\n\r\ndata: c\r\r") == [
        b"data: a",
        b"data: b",
        b"data: c",
    ]


def test_one_crlf_is_not_a_blank_line():
    assert split(b"data: a\r", b"\n") == []
    assert split(b"data: a\r", b"\ndata: b\r\n", b"\r\n") == [b"data: a\r\ndata: b"]


def test_blank_lines_between_events_do_not_matter():
    assert split(b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n") == [b"data: a", b"data: b"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c"])
def test_only_cr_and_lf_end_lines(separator):
    event = f"data: a{separator}{separator}b".encode()
    assert split(event + b"\n\n") == [event]
    assert read_event(event)[1] == f"a{separator}{separator}b".encode()


@given(
    events=st.lists(st.binary(min_size=1, max_size=20), max_size=5),
    ends=st.lists(st.sampled_from(list(ENDINGS.values())), min_size=5, max_size=5),
    data=st.data(),
)
def test_any_split_gives_the_same_events(events, ends, data):
    stream = b"".join(event + end * 2 for event, end in zip(events, ends, strict=False))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    chunks = [stream[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    assert split(*chunks) == split(stream)


@given(data=st.data())
def test_start_of_an_event_is_its_place_in_the_chunk(data):
    end = data.draw(st.sampled_from(list(ENDINGS.values())))
    stream = b"".join(b"data: %d" % n + end * 2 for n in range(8))
    cut = data.draw(st.integers(0, len(stream)))
    splitter = EventSplitter()
    splitter.feed(stream[:cut])
    rest = stream[cut:]
    for index, event in enumerate(splitter.feed(rest)):
        start = splitter.start_of(index)
        whole = event.strip(b"\r\n")
        if start:
            assert rest[start:].lstrip(b"\r\n").startswith(whole)
        else:
            assert stream.startswith(whole, cut) or whole in stream[: cut + len(rest)]


def test_start_of_an_event_that_began_earlier_is_zero():
    splitter = EventSplitter()
    assert splitter.feed(b"data: a") == []
    assert splitter.feed(b"b\n\ndata: c\n\n") == [b"data: ab", b"data: c"]
    assert [splitter.start_of(0), splitter.start_of(1)] == [0, 3]


def test_boundary_is_between_events_only():
    splitter = EventSplitter()
    seen = []
    for byte in b"data: a\n\n: hi\n\n":
        splitter.feed(bytes([byte]))
        seen.append(splitter.at_boundary)
    assert [place for place, between in enumerate(seen) if between] == [8, 14]


def test_boundary_is_found_with_crlf_in_pieces():
    splitter = EventSplitter()
    splitter.feed(b"data: a\r\n\r")
    assert splitter.at_boundary
    splitter.feed(b"\n")
    assert splitter.at_boundary
    splitter.feed(b"data")
    assert not splitter.at_boundary


@pytest.mark.parametrize("size", [1, 1000, 65536])
def test_eight_megabyte_event_costs_linear_time(size):
    """A quadratic splitter needs minutes for the smallest pieces, this one seconds."""
    length = 8_000_000 if size > 1 else 1_000_000
    event = b"data: " + b"x" * length
    stream = event + b"\n\n"
    splitter = EventSplitter()
    began = time.process_time()
    found = []
    for start in range(0, len(stream), size):
        found += splitter.feed(stream[start : start + size])
    assert found == [event]
    assert time.process_time() - began < 20


def test_rest_is_the_event_that_never_ended():
    splitter = EventSplitter()
    splitter.feed(b"data: a\n\ndata: b\n")
    assert splitter.rest() == b"data: b\n"


@pytest.mark.parametrize(
    ("raw", "name", "data"),
    [
        pytest.param(b"data: x", "", b"x", id="data"),
        pytest.param(b"data:x", "", b"x", id="no space"),
        pytest.param(b"data:  x", "", b" x", id="one space only"),
        pytest.param(b"event: e\ndata: x", "e", b"x", id="event"),
        pytest.param(b"data: x\nevent: e", "e", b"x", id="event after data"),
        pytest.param(b"event: a\nevent: b\ndata: x", "b", b"x", id="last event wins"),
        pytest.param(b"data: x\ndata: y", "", b"x\ny", id="two data lines"),
        pytest.param(b"data: x\rdata: y", "", b"x\ny", id="cr"),
        pytest.param(b"event: e\r\ndata: x", "e", b"x", id="crlf"),
        pytest.param(b": note\ndata: x", "", b"x", id="comment"),
        pytest.param(b"id: 7\nretry: 1\ndata: x", "", b"x", id="other fields"),
        pytest.param(b"\ndata: x", "", b"x", id="leading blank line"),
        pytest.param(b"\xef\xbb\xbfdata: x", "", b"x", id="byte order mark"),
        pytest.param(b"data", "", b"", id="field without a colon"),
        pytest.param(b"event: \xff\ndata: x", "�", b"x", id="name is no UTF-8"),
        pytest.param(b": only a note", "", b"", id="comment only"),
        pytest.param(b"", "", b"", id="nothing"),
    ],
)
def test_fields_are_read_by_the_rules_of_event_streams(raw, name, data):
    assert read_event(raw) == (name, data)

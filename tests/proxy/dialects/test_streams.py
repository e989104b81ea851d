"""What holds for the stream readers of all dialects, on every fixture."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import dialects
from proxy.dialects.base import StreamReader, Turn

from .scenarios import DIALECTS, all_having, load

STREAMS = all_having("stream.sse")
IDS = [f"{dialect}-{scenario}" for dialect, scenario in STREAMS]
each_stream = pytest.mark.parametrize(("dialect", "scenario"), STREAMS, ids=IDS)
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def chunks(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(stream)]
    return [stream[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def relay(reader: StreamReader, parts: list[bytes]) -> tuple[bytes, bytes]:
    """Feed the parts; return what may pass before the commit, and what waits."""
    released, held = b"", b""
    for part in parts:
        free = reader.feed(part)
        assert not (held and free)
        released += part[:free]
        held += part[free:]
    return released, held


def outcome(reader: StreamReader) -> tuple[Turn, bool, bool]:
    turn = copy.deepcopy(reader.finish(clean=True))
    return turn, reader.ended, reader.complete


@each_stream
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_split_gives_the_same_turn_and_loses_no_byte(dialect, scenario, data):
    stream = load(dialect, scenario, "stream.sse")
    whole = dialects.get(dialect).stream_reader()
    relay(whole, [stream])
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    split = dialects.get(dialect).stream_reader()
    released, held = relay(split, chunks(stream, cuts))
    assert released + held == stream
    assert outcome(split) == outcome(whole)


@each_stream
def test_one_byte_a_packet_gives_the_same_turn(dialect, scenario):
    stream = load(dialect, scenario, "stream.sse")
    whole = dialects.get(dialect).stream_reader()
    whole.feed(stream)
    split = dialects.get(dialect).stream_reader()
    released, held = relay(split, [bytes([byte]) for byte in stream])
    assert released + held == stream
    assert outcome(split) == outcome(whole)


@each_stream
def test_terminal_event_is_held_back_from_its_first_byte(dialect, scenario):
    stream = load(dialect, scenario, "stream.sse")
    reader = dialects.get(dialect).stream_reader()
    released, held = relay(reader, [stream])
    if not reader.ended:
        assert scenario == "no_done"
        return
    assert held.startswith((b"event:", b"data:"))
    assert released == b"" or released.endswith((b"\n\n", b"\r\n\r\n"))
    without = dialects.get(dialect).stream_reader()
    without.feed(released)
    assert not without.ended


@each_stream
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_final_byte_of_the_terminal_event_never_passes_before_it_is_seen(
    dialect, scenario, data
):
    stream = load(dialect, scenario, "stream.sse")
    reader = dialects.get(dialect).stream_reader()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    passed = 0
    for part in chunks(stream, cuts):
        passed += reader.feed(part)
        fresh = dialects.get(dialect).stream_reader()
        fresh.feed(stream[:passed])
        assert not fresh.ended


@each_stream
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_stream_cut_before_its_end_is_never_complete(dialect, scenario, data):
    stream = load(dialect, scenario, "stream.sse")
    whole = dialects.get(dialect).stream_reader()
    released, _ = relay(whole, [stream])
    cut = data.draw(st.integers(0, len(released)))
    reader = dialects.get(dialect).stream_reader()
    reader.feed(stream[:cut])
    turn = reader.finish(clean=False)
    assert not reader.ended
    assert not reader.complete
    assert turn.error.error_type == "server_error"


@each_stream
def test_finishing_twice_changes_nothing(dialect, scenario):
    reader = dialects.get(dialect).stream_reader()
    reader.feed(load(dialect, scenario, "stream.sse"))
    first = outcome(reader)
    assert reader.finish(clean=False) is reader.turn
    assert outcome(reader) == first


@each_stream
def test_turn_is_whole_as_soon_as_the_stream_ended(dialect, scenario):
    reader = dialects.get(dialect).stream_reader()
    reader.feed(load(dialect, scenario, "stream.sse"))
    if reader.ended:
        seen = copy.deepcopy(reader.turn)
        assert reader.finish(clean=True) == seen


@each_stream
def test_line_endings_do_not_matter(dialect, scenario):
    stream = load(dialect, scenario, "stream.sse").replace(b"\r\n", b"\n")
    turns = []
    for ending in (b"\n", b"\r\n", b"\r"):
        reader = dialects.get(dialect).stream_reader()
        reader.feed(stream.replace(b"\n", ending))
        turns.append(outcome(reader))
    assert turns[0] == turns[1] == turns[2]


@each_stream
def test_spaced_json_gives_the_same_turn(dialect, scenario):
    """Imitators of the APIs space their JSON and their fields differently."""
    stream = load(dialect, scenario, "stream.sse").replace(b"\r\n", b"\n")
    lines = [_respaced(line) for line in stream.split(b"\n")]
    plain = dialects.get(dialect).stream_reader()
    plain.feed(stream)
    spaced = dialects.get(dialect).stream_reader()
    spaced.feed(b"\n".join(lines))
    assert outcome(spaced) == outcome(plain)


def _respaced(line: bytes) -> bytes:
    if not line.startswith(b"data:") or b"[DONE]" in line:
        return line
    return b"data:" + json.dumps(json.loads(line[5:]), ensure_ascii=False).encode()


@each_dialect
def test_nothing_at_all_is_a_truncation(dialect):
    reader = dialects.get(dialect).stream_reader()
    turn = reader.finish(clean=True)
    assert not reader.complete
    assert turn.error.message == "upstream ended the stream before its terminal event"


@each_dialect
def test_own_error_event_ends_the_stream_for_a_reader(dialect):
    shape = dialects.get(dialect)
    reader = shape.stream_reader()
    reader.feed(shape.error_event(503, "no key"))
    assert reader.ended
    assert reader.turn.error.error_type == "overloaded"
    assert reader.turn.error.message == "no key"


@each_dialect
@pytest.mark.parametrize(
    ("data", "error_type", "message"),
    [
        (b"upstream is on fire", "unknown", "upstream is on fire"),
        (b"[1]", "unknown", "[1]"),
        (b'{"message":"busy","type":"overloaded_error"}', "overloaded", "busy"),
        (b'{"error":{"type":"api_error","message":"m"}}', "server_error", "m"),
    ],
)
def test_event_named_an_error_is_one_whatever_it_says(
    dialect, data, error_type, message
):
    reader = dialects.get(dialect).stream_reader()
    reader.feed(b"event: error\ndata: " + data + b"\n\n")
    assert reader.ended
    assert reader.turn.error.error_type == error_type
    assert reader.turn.error.message == message


@each_dialect
def test_heartbeat_fits_between_events_and_says_nothing(dialect):
    shape = dialects.get(dialect)
    stream = load(dialect, "single_builtin_tool", "stream.sse")
    plain, beaten = shape.stream_reader(), shape.stream_reader()
    plain.feed(stream)
    for byte in stream:
        if beaten.at_boundary:
            beaten.feed(shape.heartbeat)
        beaten.feed(bytes([byte]))
    assert beaten.at_boundary
    assert outcome(beaten) == outcome(plain)


@each_dialect
def test_no_boundary_inside_an_event(dialect):
    reader = dialects.get(dialect).stream_reader()
    assert reader.at_boundary
    reader.feed(b"data: {}\n")
    assert not reader.at_boundary
    reader.feed(b"\n")
    assert reader.at_boundary


FIELDS = [
    "id",
    "type",
    "index",
    "delta",
    "message",
    "item",
    "response",
    "content",
    "content_block",
    "usage",
    "choices",
    "tool_calls",
    "function",
    "custom",
    "arguments",
    "input",
    "summary",
    "text",
    "error",
    "output",
    "code",
    "item_id",
    "partial_json",
    "thinking",
    "finish_reason",
]
KINDS = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "error",
    "response.created",
    "response.output_item.done",
    "response.reasoning_summary_text.delta",
    "response.completed",
    "response.failed",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["tool_use", "text_delta", "function_call", "reasoning"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@each_dialect
@settings(max_examples=150, deadline=None)
@given(events=st.lists(st.tuples(st.sampled_from(KINDS), JSON), max_size=6))
def test_no_json_of_upstream_makes_a_reader_raise(dialect, events):
    reader = dialects.get(dialect).stream_reader()
    for kind, value in events:
        data = {**value, "type": kind} if isinstance(value, dict) else value
        reader.feed(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())
    turn = reader.finish(clean=True)
    texts = [turn.response_id, turn.model, turn.stop_reason]
    texts += [call.arguments + call.name for call in turn.tool_calls]
    texts += [thought.content for thought in turn.thoughts]
    "".join(texts).encode()


@each_dialect
@settings(max_examples=100, deadline=None)
@given(value=JSON)
def test_no_json_makes_a_dialect_raise(dialect, value):
    shape = dialects.get(dialect)
    body = json.dumps(value).encode()
    shape.read_answer(body)
    kind, code, message = shape.read_error(body)
    (kind + code + message).encode()
    if isinstance(value, dict):
        shape.read_request(body)


@each_dialect
@settings(max_examples=100, deadline=None)
@given(parts=st.lists(st.binary(max_size=60), max_size=6))
def test_no_bytes_of_upstream_make_a_dialect_raise(dialect, parts):
    shape = dialects.get(dialect)
    reader = shape.stream_reader()
    for part in parts:
        reader.feed(part)
    reader.finish(clean=True)
    shape.read_answer(b"".join(parts))
    shape.read_error(b"".join(parts))


@each_dialect
def test_invalid_utf8_in_an_event_is_read_past(dialect):
    stream = load(dialect, "single_builtin_tool", "stream.sse")
    first = stream.index(b"\n\n") + 2
    torn = b'event: content_block_delta\ndata: {"type":"x","text":"\xe2\x82"}\n\n'
    reader, plain = (dialects.get(dialect).stream_reader() for _ in range(2))
    reader.feed(stream[:first] + torn + stream[first:])
    plain.feed(stream)
    assert outcome(reader) == outcome(plain)


def test_unknown_dialect_is_a_key_error():
    with pytest.raises(KeyError):
        dialects.get("gemini")


@each_dialect
def test_dialect_is_known_by_its_name(dialect):
    assert dialects.get(dialect).name == dialect

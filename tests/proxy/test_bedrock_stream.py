"""Bedrock's frames become Anthropic's events, whatever way they arrive."""

from __future__ import annotations

import json
import random

import httpx
import pytest
from anthropic.lib.bedrock._stream_decoder import AWSEventStreamDecoder
from hypothesis import given
from hypothesis import strategies as st

from proxy.bedrock_stream import as_anthropic, events_of_frames
from tests.answers import FIXTURES, simple_answer
from tests.aws import FRAMES, chunk_frame, exception_frame, frame, frames_of

STREAMS = [
    path.read_bytes()
    for path in sorted(FIXTURES.glob("anthropic_messages/*/stream.sse"))
    if path.parent.name != "crlf"
]


def pieces(raw: bytes, seed: int) -> list[bytes]:
    source = random.Random(seed)
    parts = []
    while raw:
        size = source.choice((1, 2, 3, 11, 12, 40, 500))
        parts.append(raw[:size])
        raw = raw[size:]
    return parts


def events(raw: bytes) -> list[tuple[str, object]]:
    found = []
    for part in raw.split(b"\n\n"):
        if part.strip():
            head, _, data = part.partition(b"\ndata: ")
            found.append((head.removeprefix(b"event: ").decode(), json.loads(data)))
    return found


@pytest.mark.parametrize("seed", range(10))
def test_frames_at_any_split_equal_the_official_decoder(seed: int):
    source = random.Random(seed)
    raw = b"".join(frames_of(source.choice(STREAMS)))
    if seed % 2:
        raw += exception_frame("throttlingException", "Too many tokens")
    split = pieces(raw, seed)
    theirs = [
        (event.event, json.loads(event.data))
        for event in AWSEventStreamDecoder().iter_bytes(iter(split))
    ]
    ours = events(b"".join(events_of_frames(split)))
    if seed % 2:
        # The official client passes AWS's own names on; a gateway translates them.
        assert theirs.pop()[1]["error"]["type"] == "throttlingException"
        assert ours.pop()[1]["error"] == {
            "type": "rate_limit_error",
            "message": "Too many tokens",
        }
    assert ours == theirs
    assert ours


@given(
    st.lists(
        st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=3),
        max_size=8,
    ),
    st.integers(0, 10_000),
)
def test_random_events_pass_unchanged(values: list[dict[str, str]], seed: int):
    data = [
        json.dumps({"type": "brand_new"} | value, ensure_ascii=False).encode()
        for value in values
    ]
    raw = b"".join(map(chunk_frame, data))
    out = b"".join(events_of_frames(pieces(raw, seed)))
    expected = [json.loads(event)["type"] for event in data]
    assert [json.loads(e.partition(b"data: ")[2])["type"] for e in parts(out)] == (
        expected
    )
    for event in data:
        if b"\\" not in event and event.splitlines() == [event]:
            assert b"data: " + event + b"\n\n" in out


def parts(raw: bytes) -> list[bytes]:
    return [part for part in raw.split(b"\n\n") if part.strip()]


def test_an_event_comes_out_with_its_last_byte():
    raw = chunk_frame(b'{"type":"ping"}')
    steps = events_of_frames([raw[:-1], raw[-1:]])
    assert next(steps) == b""
    assert next(steps) == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_ticks_of_silence_pass():
    assert list(events_of_frames([b"", b""])) == [b"", b""]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", "rate_limit_error"),
        ("serviceUnavailableException", "overloaded_error"),
        ("validationException", "invalid_request_error"),
        ("modelTimeoutException", "timeout_error"),
        ("internalServerException", "api_error"),
        ("brandNewException", "api_error"),
    ],
)
def test_exceptions_become_error_events(name: str, kind: str):
    (out,) = events_of_frames([exception_frame(name, "What happened.")])
    ((event, value),) = events(out)
    assert event == "error"
    assert value == {
        "type": "error",
        "error": {"type": kind, "message": "What happened."},
    }


def test_error_frame_without_payload():
    headers = {
        ":message-type": "error",
        ":error-code": "InternalError",
        ":error-message": "It broke.",
    }
    (out,) = events_of_frames([frame(headers, b"")])
    ((_, value),) = events(out)
    assert value["error"] == {"type": "api_error", "message": "It broke."}


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 is not this at all, is it",
        chunk_frame(b'{"type":"ping"}')[:-1] + b"x",
        chunk_frame(b'{"type":"ping"}')[:20],
    ],
    ids=["no frames", "wrong checksum", "ends inside a frame"],
)
def test_broken_streams_raise(raw: bytes):
    with pytest.raises(httpx.RemoteProtocolError):
        list(events_of_frames([raw]))


def test_response_looks_like_anthropics():
    raw = b"".join(frames_of(simple_answer("anthropic_messages", True)))
    response = as_anthropic(
        httpx.Response(
            200,
            headers={"content-type": FRAMES, "x-amzn-requestid": "r-1"},
            content=raw,
        )
    )
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["request-id"] == "r-1"
    assert "content-length" not in response.headers
    assert events(b"".join(response.stream)) == events(
        simple_answer("anthropic_messages", True)
    )


def test_whole_answer_stays():
    response = as_anthropic(httpx.Response(200, json={"id": "msg_1"}))
    assert response.headers["content-type"] == "application/json"
    assert b"".join(response.stream) == b'{"id":"msg_1"}'

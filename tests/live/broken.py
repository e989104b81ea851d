"""Answers that break in one particular way, for any API and mode.

Each function makes, of what a request asked for, the answer a broken upstream gives.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from proxy.demo.answers import CHAT, MESSAGES, RESPONSES, error_body
from tests.answers import Answer, SeenRequest, simple_answer

Json = dict[str, Any]
Breaks = Callable[[SeenRequest], Answer]

TEXT = "Hello from upstream."
_DELTA = {
    MESSAGES: b'"type":"text_delta"',
    CHAT: b'"delta":{"content"',
    RESPONSES: b"event: response.output_text.delta",
}
_TORN_JSON = {
    MESSAGES: b'event: content_block_delta\ndata: {"type":"content_block_del\n\n',
    CHAT: b'data: {"id":"chatcmpl-1","choices":[{"ind\n\n',
    RESPONSES: b'event: response.output_text.delta\ndata: {"type":"resp\n\n',
}


def whole(request: SeenRequest, text: str = TEXT, deltas: int = 4) -> bytes:
    """Return the good answer."""
    api, streaming = request.api or CHAT, request.streaming
    model = request.json().get("model", "")
    return simple_answer(
        api,
        streaming,
        text=text,
        deltas=deltas,
        model=model,
        number=request.number,
    )


def events(content: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in content.split(b"\n\n")[:-1]]


def given(request: SeenRequest, content: bytes, **faults: Any) -> Answer:
    """Return an answer of this content in the mode that was asked for."""
    if request.streaming:
        return Answer(chunks=(content,), **faults)
    return Answer(body=content, **faults)


def is_delta(request: SeenRequest, event: bytes) -> bool:
    return _DELTA[request.api or CHAT] in event


def end_of_delta(request: SeenRequest, content: bytes, number: int) -> int:
    """Return the offset behind the text delta of that number, counted from 1."""
    offset = 0
    for event in events(content):
        offset += len(event)
        number -= is_delta(request, event)
        if not number:
            return offset
    raise LookupError("there are not that many deltas")


# Errors instead of answers


def says(
    status: int, kind: str, message: str = "no", **headers: str
) -> Callable[[SeenRequest], Answer]:
    """Return what answers with an error in the API's envelope."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(request: SeenRequest) -> Answer:
        envelope = error_body(request.api or CHAT, kind, message)
        return Answer(status=status, headers=named, json=envelope)

    return answer


def http_date(seconds: float) -> str:
    """Return the date that many seconds from now, as Retry-After may give it."""
    return formatdate(time.time() + seconds, usegmt=True)


def limited_until_a_date(request: SeenRequest) -> Answer:
    return says(429, "rate_limit_error", retry_after=http_date(30))(request)


# Cuts and silence


def after_forty_of_sixty_tokens(request: SeenRequest) -> Answer:
    content = whole(request, text="token " * 60, deltas=60)
    cut = 2 * len(content) // 3
    if request.streaming:
        cut = end_of_delta(request, content, 40)
    return given(request, content, cut_after=cut)


def reset_after_forty_of_sixty_tokens(request: SeenRequest) -> Answer:
    answer = after_forty_of_sixty_tokens(request)
    return given(request, answer.content(request)[1], reset_after=answer.cut_after)


def silent_after_the_first_token(request: SeenRequest) -> Answer:
    content = whole(request)
    at = end_of_delta(request, content, 1) if request.streaming else len(content) // 2
    return given(request, content, silent_after=at)


def silent_from_the_start(request: SeenRequest) -> Answer:
    return given(request, whole(request), silent_after=0)


def inside_a_character(request: SeenRequest) -> Answer:
    content = whole(request, text="Greetings: \x00").replace(b"\\u0000", "ü".encode())
    return given(request, content, cut_after=content.index("ü".encode()) + 1)


def inside_a_line(request: SeenRequest) -> Answer:
    content = whole(request)
    return given(request, content, cut_after=end_of_delta(request, content, 2) + 17)


def empty(request: SeenRequest) -> Answer:
    return given(request, b"")


# Events that should not be there, or should


def with_a_malformed_event(request: SeenRequest) -> Answer:
    content = whole(request)
    if not request.streaming:
        return Answer(body=content[:-9])
    torn = _TORN_JSON[request.api or CHAT]
    at = end_of_delta(request, content, 2)
    return given(request, content[:at] + torn + content[at:])


def _error_event(api: str) -> bytes:
    if api == CHAT:
        error: Json = {"message": "Try later", "type": "server_error", "code": None}
        return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
    error = {"type": "overloaded_error", "message": "Overloaded"}
    if api == RESPONSES:
        error = {"code": "rate_limit_exceeded", "message": "Slow down"}
        error |= {"sequence_number": 0, "param": None}
    event = {"type": "error"} | (error if api == RESPONSES else {"error": error})
    return b"event: error\ndata: " + json.dumps(event).encode() + b"\n\n"


def error_first(request: SeenRequest) -> Answer:
    return given(request, _error_event(request.api or CHAT))


def error_after_start(request: SeenRequest) -> Answer:
    start = events(whole(request))[0]
    return given(request, start + _error_event(request.api or CHAT))


def error_after_content(request: SeenRequest) -> Answer:
    content = whole(request)
    before = content[: end_of_delta(request, content, 3)]
    if request.api != RESPONSES:
        return given(request, before + _error_event(request.api or CHAT))
    usage = {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}
    error = {"code": "server_error", "message": "The model failed"}
    response = {"id": "resp_1", "status": "failed", "error": error, "usage": usage}
    event = {"type": "response.failed", "sequence_number": 9, "response": response}
    data = json.dumps(event).encode()
    return given(request, before + b"event: response.failed\ndata: " + data + b"\n\n")


def started_twice(request: SeenRequest) -> Answer:
    first, *others = events(whole(request))
    return given(request, first + first + b"".join(others))


def without_its_last_event(request: SeenRequest) -> Answer:
    return given(request, b"".join(events(whole(request))[:-1]))


# Usage


def without_usage(request: SeenRequest) -> Answer:
    return given(request, _edited(request, whole(request), _drop_usage))


def with_usage_at_the_end(request: SeenRequest) -> Answer:
    return given(request, _edited(request, whole(request), _move_usage))


def _edited(
    request: SeenRequest, content: bytes, edit: Callable[[Json], Json | None]
) -> bytes:
    """Return the content with ``edit`` applied to each JSON in it; None drops it."""
    if not request.streaming:
        return json.dumps(edit(json.loads(content))).encode()
    return b"".join(_edited_event(event, edit) for event in events(content))


def _edited_event(event: bytes, edit: Callable[[Json], Json | None]) -> bytes:
    head, mark, data = event.partition(b"data: ")
    if not data.startswith(b"{"):
        return event
    edited = edit(json.loads(data))
    return (
        b"" if edited is None else head + mark + json.dumps(edited).encode() + b"\n\n"
    )


def _drop_usage(data: Json) -> Json | None:
    if data.get("choices") == []:
        return None
    for holder in (data, data.get("message"), data.get("response")):
        if isinstance(holder, dict):
            holder.pop("usage", None)
    return data


def _move_usage(data: Json) -> Json:
    """Leave what Chat and Responses do anyway; Messages counts nothing at the start."""
    if data.get("type") == "message_start":
        data["message"]["usage"] = {"input_tokens": 0, "output_tokens": 0}
    elif data.get("type") == "message_delta":
        data["usage"] = {"input_tokens": 12, "output_tokens": 34}
    return data


# Shapes on the wire


def byte_by_byte(request: SeenRequest) -> Answer:
    return given(request, whole(request), split=1)


def eight_megabytes(request: SeenRequest) -> Answer:
    """All of the text in one event, or in one body."""
    content = whole(request, text="@", deltas=1)
    return given(request, content.replace(b"@", b"x" * 8_000_000, 1))


def more_than_buffers_hold(request: SeenRequest) -> Answer:
    """About 20 MB; the Responses API says everything five times."""
    size = 4_000_000 if request.api == RESPONSES else 20_000_000
    return Answer(text="y" * size, deltas=200)


def gzip_that_ends_early(request: SeenRequest) -> Answer:
    """The length says more than comes."""
    content = whole(request)
    length = len(gzip.compress(content)) + 50
    return given(request, content, compress=True, content_length=length)


def gzip_that_is_cut(request: SeenRequest) -> Answer:
    """The length says less than comes."""
    content = whole(request)
    length = len(gzip.compress(content)) - 30
    return given(request, content, compress=True, content_length=length)


def dripping(request: SeenRequest) -> Answer:
    """One token in each half second."""
    content = whole(request, text="abc", deltas=3)
    if not request.streaming:
        return Answer(body=content, split=-(-len(content) // 4), delay=0.2)
    chunks: list[bytes | float] = []
    for event in events(content):
        chunks += [0.5, event] if is_delta(request, event) else [event]
    return Answer(chunks=chunks)


def waiting_at(part: float) -> Breaks:
    """Return what sends this part of the events (never the last one), and waits."""

    def answer(request: SeenRequest) -> Answer:
        if not request.streaming:
            content = whole(request)
            return Answer(body=content, silent_after=int(len(content) * part))
        parts = events(whole(request))
        sent = min(round(len(parts) * part), len(parts) - 1)
        return Answer(chunks=(b"".join(parts[:sent]), 30.0, b"".join(parts[sent:])))

    return answer


def first_late_then_at_once(request: SeenRequest) -> Answer:
    """Rest the key twice: the sooner deadline is said later."""
    if request.number == 1:
        return Answer(status=429, headers={"retry-after": "50"}, wait=0.5)
    return Answer(status=429, headers={"retry-after": "400"})

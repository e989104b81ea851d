"""Reads Bedrock's answers as if Anthropic had sent them.

A streamed answer comes in AWS event-stream frames, each with one event of the Messages
API inside; out come server-sent events, frame by frame. Knows no request.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import httpx

from proxy.dialects.jsontext import as_object, as_text, read_json, write_json

if TYPE_CHECKING:
    from botocore.eventstream import EventStreamMessage

FRAMES = "application/vnd.amazon.eventstream"
_ERROR_TYPES = {
    "throttlingexception": "rate_limit_error",
    "servicequotaexceededexception": "rate_limit_error",
    "serviceunavailableexception": "overloaded_error",
    "modelnotreadyexception": "overloaded_error",
    "validationexception": "invalid_request_error",
    "accessdeniedexception": "permission_error",
    "resourcenotfoundexception": "not_found_error",
    "modeltimeoutexception": "timeout_error",
}


def reading_frames(
    send: Callable[[httpx.Request], httpx.Response],
) -> Callable[[httpx.Request], httpx.Response]:
    """Return a ``send`` whose responses look like Anthropic's."""
    return lambda request: as_anthropic(send(request))


def as_anthropic(response: httpx.Response) -> httpx.Response:
    """Return the response with its request id where Anthropic has it, frames as SSE."""
    headers = httpx.Headers(response.headers)
    if request_id := headers.get("x-amzn-requestid"):
        headers["request-id"] = request_id
    stream: Any = response.stream
    if headers.get("content-type", "").startswith(FRAMES):
        headers["content-type"] = "text/event-stream"
        headers.pop("content-length", None)
        stream = _EventStream(response)
    return httpx.Response(
        response.status_code,
        headers=headers,
        stream=stream,
        extensions=response.extensions,
    )


class _EventStream(httpx.SyncByteStream):
    """The events of a framed response; closing it closes the response."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        stream: Any = self._response.stream
        return events_of_frames(stream)

    def close(self) -> None:
        self._response.close()


def events_of_frames(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield server-sent events as soon as their frames are whole.

    An empty chunk (a tick of silence) passes. Raises httpx.RemoteProtocolError for
    bytes that are no frames and for a body that ends inside one.
    """
    from botocore.eventstream import EventStreamBuffer, ParserError

    buffer = EventStreamBuffer()
    size = 0
    try:
        for chunk in chunks:
            buffer.add_data(chunk)
            size += len(chunk)
            events = []
            for frame in buffer:
                size -= frame.prelude.total_length
                events.append(event_of_frame(frame))
            yield b"".join(events)
    except (ParserError, ValueError) as error:
        raise httpx.RemoteProtocolError(f"broken event stream: {error}") from error
    if size:
        raise httpx.RemoteProtocolError("the event stream ends inside a frame")


def event_of_frame(frame: EventStreamMessage) -> bytes:
    """Return a frame's event as SSE bytes, b"" when it carries none."""
    kind = frame.headers.get(":message-type", "event")
    if kind != "event":
        return _error_event(frame)
    content = as_object(read_json(frame.payload)).get("bytes")
    if not isinstance(content, str):
        return b""
    return sse_event(b64decode(content))


def sse_event(data: bytes) -> bytes:
    """Return one event of the Messages API as SSE; its JSON is not changed."""
    name = as_text(as_object(read_json(data)).get("type"))
    if not name:
        return b""
    lines = b"\n".join(b"data: " + line for line in data.splitlines())
    return b"event: " + name.encode() + b"\n" + lines + b"\n\n"


def _error_event(frame: EventStreamMessage) -> bytes:
    headers = frame.headers
    name = str(headers.get(":exception-type") or headers.get(":error-code") or "")
    told = as_object(read_json(frame.payload))
    message = as_text(told.get("message")) or str(headers.get(":error-message", ""))
    error = {
        "type": _ERROR_TYPES.get(name.lower(), "api_error"),
        "message": message or name,
    }
    return sse_event(write_json({"type": "error", "error": error}).encode())

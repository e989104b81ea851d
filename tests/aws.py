"""AWS event-stream frames as Bedrock sends them, for tests."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping

FRAMES = "application/vnd.amazon.eventstream"


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return one frame: lengths, checksum, headers, payload, checksum."""
    head = b"".join(
        struct.pack("!B", len(name))
        + name.encode()
        + struct.pack("!BH", 7, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    body = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return body + struct.pack("!I", zlib.crc32(body))


def chunk_frame(event: bytes) -> bytes:
    """Return the frame of one event of the Messages API."""
    payload = json.dumps({"bytes": base64.b64encode(event).decode(), "p": "abcd"})
    headers = {
        ":event-type": "chunk",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    return frame(headers, payload.encode())


def exception_frame(name: str, message: str) -> bytes:
    """Return the frame with which Bedrock ends a stream that failed."""
    headers = {
        ":exception-type": name,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return frame(headers, json.dumps({"message": message}).encode())


def frames_of(stream: bytes) -> list[bytes]:
    """Return a Messages event stream as the frames Bedrock would send."""
    events = [part for part in stream.split(b"\n\n") if part.strip()]
    return [chunk_frame(event.partition(b"data: ")[2]) for event in events]

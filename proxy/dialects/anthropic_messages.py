"""The Anthropic Messages API: its requests, its answers, its event stream.

1. Usage numbers of ``message_delta`` are cumulative: the last one wins, nothing is
   added up.
2. A tool call counts when its block is closed; thinking counts as far as it came.
3. The first ``message_start`` speaks for the turn, as the official SDK reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from .base import BadRequestBody, BridgedRequest, Json, Thought, ToolCall, Turn, Usage
from .envelopes import anthropic_error
from .faults import not_an_answer, read_error, turn_error
from .jsontext import (
    as_count,
    as_object,
    as_objects,
    as_text,
    read_json,
    write_json,
)
from .prompts import last_item, last_text
from .stream import EventReader

_TEXT_DELTA = (b'"type":"text_delta"', b'"type": "text_delta"')


class AnthropicMessages:
    """The dialect behind ``/v1/messages``."""

    name: ClassVar[str] = "anthropic_messages"
    heartbeat: ClassVar[bytes] = b'event: ping\ndata: {"type": "ping"}\n\n'

    def read_request(self, body: bytes) -> BridgedRequest:
        """Read a client's body; raises BadRequestBody naming what is wrong."""
        if not body.strip():
            raise BadRequestBody("messages empty request body")
        parsed = read_json(body)
        if not isinstance(parsed, dict):
            raise BadRequestBody("messages invalid JSON request body")
        last = last_item(parsed.get("messages"))
        return BridgedRequest(
            body=body,
            parsed=parsed,
            model=as_text(parsed.get("model")),
            streaming=parsed.get("stream") is True,
            prompt=_prompt(last),
            correlating_tool_call_id=_correlating_id(last),
        )

    def stream_reader(self) -> MessagesReader:
        """Return a fresh reader for one streamed answer."""
        return MessagesReader()

    def read_answer(self, body: bytes) -> Turn:
        """Read a whole, non-streamed answer of status 200."""
        data = read_json(body)
        if not isinstance(data, dict):
            return Turn(error=not_an_answer())
        if data.get("error") or data.get("type") == "error":
            return Turn(error=turn_error(data))
        turn = Turn(response_id=as_text(data.get("id")))
        turn.model = as_text(data.get("model"))
        turn.stop_reason = as_text(data.get("stop_reason"))
        turn.usage = _usage(as_object(data.get("usage")))
        blocks = [_Block.opened(block) for block in as_objects(data.get("content"))]
        turn.tool_calls = [block.tool_call() for block in blocks if block.is_tool]
        turn.thoughts = [Thought("thinking", b.text) for b in blocks if b.is_thought]
        return turn

    def read_error(self, body: bytes) -> tuple[str, str, str]:
        """Return (type, code, message) of an upstream error body."""
        return read_error(body)

    def error_body(self, status: int, message: str, *, error_type: str = "") -> bytes:
        """Return an error in Anthropic's envelope."""
        return write_json(anthropic_error(status, message, error_type)).encode()

    def error_event(self, status: int, message: str, *, error_type: str = "") -> bytes:
        """Return the error as the event on which SDKs raise."""
        body = self.error_body(status, message, error_type=error_type)
        return b"event: error\ndata: " + body + b"\n\n"


@dataclass(slots=True)
class _Block:
    """One content block; ``parts`` is its text or its arguments as they come."""

    type: str
    id: str = ""
    name: str = ""
    given: Any = None
    parts: list[str] = field(default_factory=list)
    closed: bool = False

    @classmethod
    def opened(cls, block: Json) -> _Block:
        return cls(
            type=as_text(block.get("type")),
            id=as_text(block.get("id")),
            name=as_text(block.get("name")),
            given=block.get("input"),
            parts=[as_text(block.get("thinking"))],
        )

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def is_tool(self) -> bool:
        return self.type.endswith("tool_use")

    @property
    def is_thought(self) -> bool:
        return self.type == "thinking" and bool(self.text)

    def tool_call(self) -> ToolCall:
        kind = "function" if self.type == "tool_use" else "server"
        given = {} if self.given is None else self.given
        arguments = self.text or write_json(given)
        return ToolCall(self.id, self.name, arguments, kind=kind)


class MessagesReader(EventReader):
    """Reads one streamed message."""

    def __init__(self) -> None:
        super().__init__()
        self._started = False
        self._usage: Json = {}
        self._blocks: list[_Block] = []
        self._open: dict[int, _Block] = {}

    def _on_event(self, name: str, data: Json, raw: bytes) -> None:
        kind = as_text(data.get("type")) or name
        if kind == "content_block_delta":
            self._on_delta(data, raw)
        elif kind == "content_block_start":
            self._on_block_start(data)
        elif kind == "content_block_stop":
            self._on_block_stop(data)
        elif kind == "message_start":
            self._on_message_start(as_object(data.get("message")))
        elif kind == "message_delta":
            self._on_message_delta(data)
        elif kind == "message_stop":
            self._end()
        elif "error" in (kind, name):
            self._fail(data)
        elif data.get("error"):
            # SDKs pass over an error that is not named one: the turn stays open.
            self.turn.error = turn_error(data)

    def _on_message_start(self, message: Json) -> None:
        if self._started:
            return
        self._started = True
        self.turn.response_id = as_text(message.get("id"))
        self.turn.model = as_text(message.get("model"))
        self._add_usage(message)

    def _on_message_delta(self, data: Json) -> None:
        reason = as_text(as_object(data.get("delta")).get("stop_reason"))
        self.turn.stop_reason = reason or self.turn.stop_reason
        self._add_usage(data)

    def _add_usage(self, holder: Json) -> None:
        given = as_object(holder.get("usage"))
        self._usage |= {
            name: value for name, value in given.items() if value is not None
        }
        self.turn.usage = _usage(self._usage)

    def _on_block_start(self, data: Json) -> None:
        block = _Block.opened(as_object(data.get("content_block")))
        self._blocks.append(block)
        self._open[as_count(data.get("index"))] = block

    def _on_block_stop(self, data: Json) -> None:
        if block := self._open.pop(as_count(data.get("index")), None):
            block.closed = True

    def _on_delta(self, data: Json, raw: bytes) -> None:
        delta = as_object(data.get("delta"))
        if delta.get("type") == "text_delta":
            self._plain = _plain_beginning(raw) or self._plain
            return
        if block := self._open.get(as_count(data.get("index"))):
            part = delta.get("partial_json") or delta.get("thinking")
            block.parts.append(as_text(part))

    def _settle(self) -> None:
        self.turn.thoughts = [
            Thought("thinking", block.text)
            for block in self._blocks
            if block.is_thought
        ]
        self.turn.tool_calls = [
            block.tool_call()
            for block in self._blocks
            if block.is_tool and (block.closed or self._complete)
        ]


def _plain_beginning(raw: bytes) -> bytes:
    """Return the bytes up to the delta's type: what begins so is a text delta too."""
    for mark in _TEXT_DELTA:
        before, found, _ = raw.partition(mark)
        if found:
            return before + found
    return b""


def _usage(given: Json) -> Usage | None:
    """Return the tokens of a usage object; Anthropic's input excludes the cache."""
    if not given:
        return None
    tier = as_text(given.get("service_tier"))
    return Usage(
        input=as_count(given.get("input_tokens")),
        output=as_count(given.get("output_tokens")),
        cache_read_input=as_count(given.get("cache_read_input_tokens")),
        cache_write_input=as_count(given.get("cache_creation_input_tokens")),
        extra=_extra_tokens(given),
        metadata={"service_tier": tier} if tier else {},
    )


def _extra_tokens(given: Json) -> dict[str, int]:
    created = as_object(given.get("cache_creation"))
    tools = as_object(given.get("server_tool_use"))
    counts = {
        "web_search_requests": as_count(tools.get("web_search_requests")),
        "cache_ephemeral_1h_input": as_count(created.get("ephemeral_1h_input_tokens")),
        "cache_ephemeral_5m_input": as_count(created.get("ephemeral_5m_input_tokens")),
    }
    return {name: count for name, count in counts.items() if count}


def _prompt(last: Json) -> str | None:
    return last_text(last.get("content")) if last.get("role") == "user" else None


def _correlating_id(last: Json) -> str | None:
    for block in reversed(as_objects(last.get("content"))):
        if block.get("type") == "tool_result":
            return as_text(block.get("tool_use_id")) or None
    return None

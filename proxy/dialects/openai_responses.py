"""The OpenAI Responses API: its requests, its answers, its event stream.

1. Output items are read when they are done; ``response.completed`` has the last word
   on them and on usage. Deltas are skipped by their event's name.
2. ``response.failed`` and ``error`` are errors; ``response.incomplete`` is an answer.
3. Of an answer that breaks off, the summary text received so far is kept.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .base import BadRequestBody, BridgedRequest, Json, Thought, ToolCall, Turn, Usage
from .envelopes import openai_error
from .faults import not_an_answer, read_error, turn_error
from .jsontext import (
    as_count,
    as_object,
    as_objects,
    as_text,
    is_truthy,
    read_json,
    write_json,
)
from .prompts import last_item, user_texts
from .stream import EventReader

_SKIPPED = (
    "response.output_text.delta",
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
    "response.reasoning_text.delta",
    "response.refusal.delta",
    "response.code_interpreter_call_code.delta",
    "response.mcp_call_arguments.delta",
    "response.image_generation_call.partial_image",
)
_PLAIN = (
    *(f"event: {name}\n".encode() for name in _SKIPPED),
    *(f'data: {{"type":"{name}"'.encode() for name in _SKIPPED),
)
_SUMMARY_DELTA = "response.reasoning_summary_text.delta"
_COMPLETED = ("response.completed", "response.incomplete", "response.done")
# Where the item types keep what the tool is called with.
_ARGUMENT_FIELDS = (
    "arguments",
    "input",
    "action",
    "actions",
    "operation",
    "queries",
    "code",
)


class OpenAIResponses:
    """The dialect behind ``/v1/responses``."""

    name: ClassVar[str] = "openai_responses"
    heartbeat: ClassVar[bytes] = b": keep-alive\n\n"

    def read_request(self, body: bytes) -> BridgedRequest:
        """Read a client's body; raises BadRequestBody naming what is wrong."""
        if not body.strip():
            raise BadRequestBody("empty request body")
        parsed = read_json(body)
        if not isinstance(parsed, dict):
            raise BadRequestBody("invalid JSON payload")
        given = parsed.get("input")
        last = last_item(given)
        return BridgedRequest(
            body=body,
            parsed=parsed,
            model=_model(parsed.get("model")),
            streaming=is_truthy(parsed.get("stream")),
            prompt=as_text(given) if isinstance(given, str) else _prompt(last),
            correlating_tool_call_id=_correlating_id(last),
            background=is_truthy(parsed.get("background")),
        )

    def stream_reader(self) -> ResponsesReader:
        """Return a fresh reader for one streamed answer."""
        return ResponsesReader()

    def read_answer(self, body: bytes) -> Turn:
        """Read a whole, non-streamed answer of status 200."""
        data = read_json(body)
        if not isinstance(data, dict):
            return Turn(error=not_an_answer())
        turn = Turn()
        _read_head(turn, data)
        _read_end(turn, data)
        _read_items(turn, as_objects(data.get("output")))
        if data.get("error") or data.get("status") == "failed":
            turn.error = turn_error(data)
        return turn

    def read_error(self, body: bytes) -> tuple[str, str, str]:
        """Return (type, code, message) of an upstream error body."""
        return read_error(body)

    def error_body(self, status: int, message: str, *, error_type: str = "") -> bytes:
        """Return an error in OpenAI's envelope."""
        error = openai_error(status, message, error_type)
        return write_json({"error": error}).encode()

    def error_event(self, status: int, message: str, *, error_type: str = "") -> bytes:
        """Return the error as an ``error`` event.

        The API documents flat fields; the official SDK raises only on an ``error``
        object. The event has both.
        """
        error = openai_error(status, message, error_type)
        flat = {name: error[name] for name in ("code", "message", "param")}
        event = {"type": "error", "sequence_number": 0, **flat, "error": error}
        return b"event: error\ndata: " + write_json(event).encode() + b"\n\n"


class ResponsesReader(EventReader):
    """Reads one streamed response."""

    def __init__(self) -> None:
        super().__init__()
        self._plain = _PLAIN
        self._items: dict[str, Json] = {}
        self._summaries: dict[tuple[str, int], list[str]] = {}

    def _on_event(self, name: str, data: Json, raw: bytes) -> None:
        kind = as_text(data.get("type")) or name
        response = as_object(data.get("response"))
        if response:
            _read_head(self.turn, response)
        if kind == _SUMMARY_DELTA:
            self._on_summary_delta(data)
        elif kind == "response.output_item.done":
            self._add_item(as_object(data.get("item")))
        elif kind in _COMPLETED:
            self._close(response)
            self._end()
        elif kind == "response.failed":
            self._close(response)
            self._fail(data)
        elif "error" in (kind, name) or data.get("error"):
            self._fail(data)

    def _on_summary_delta(self, data: Json) -> None:
        part = (as_text(data.get("item_id")), as_count(data.get("summary_index")))
        self._summaries.setdefault(part, []).append(as_text(data.get("delta")))

    def _add_item(self, item: Json) -> None:
        own_id = as_text(item.get("id")) or as_text(item.get("call_id"))
        self._items[own_id or str(len(self._items))] = item

    def _close(self, response: Json) -> None:
        _read_end(self.turn, response)
        for item in as_objects(response.get("output")):
            self._add_item(item)

    def _settle(self) -> None:
        self.turn.tool_calls.clear()
        self.turn.thoughts.clear()
        _read_items(self.turn, list(self._items.values()))
        if not self._complete:
            self.turn.thoughts += self._unfinished_thoughts()

    def _unfinished_thoughts(self) -> list[Thought]:
        return [
            Thought("reasoning_summary", "".join(parts))
            for (item_id, _), parts in self._summaries.items()
            if item_id not in self._items
        ]


def _read_head(turn: Turn, response: Json) -> None:
    turn.response_id = turn.response_id or as_text(response.get("id"))
    turn.model = turn.model or as_text(response.get("model"))


def _read_end(turn: Turn, response: Json) -> None:
    details = as_object(response.get("incomplete_details"))
    reason = as_text(details.get("reason")) or as_text(response.get("status"))
    turn.stop_reason = reason
    turn.usage = _usage(as_object(response.get("usage")))


def _read_items(turn: Turn, items: list[Json]) -> None:
    for item in items:
        if call := _tool_call(item):
            turn.tool_calls.append(call)
        turn.thoughts += _thoughts(item)


def _tool_call(item: Json) -> ToolCall | None:
    kind = as_text(item.get("type"))
    if not kind.endswith("_call"):
        return None
    call_id, item_id = as_text(item.get("call_id")), as_text(item.get("id"))
    return ToolCall(
        id=call_id or item_id,
        name=as_text(item.get("name")) or kind,
        arguments=_arguments(item),
        kind=_kind(kind, call_id),
        item_id=item_id,
    )


def _kind(item_type: str, call_id: str) -> str:
    if item_type == "custom_tool_call":
        return "custom"
    # What the client runs has an id to answer to; what upstream runs has none.
    return "function" if item_type == "function_call" or call_id else "server"


def _arguments(item: Json) -> str:
    for name in _ARGUMENT_FIELDS:
        value = item.get(name)
        if isinstance(value, str):
            text = as_text(value)
            return text if name == "input" else text.strip()
        if value is not None:
            return write_json(value)
    return ""


def _thoughts(item: Json) -> list[Thought]:
    if item.get("type") == "reasoning":
        return _texts("reasoning_summary", item.get("summary"))
    if item.get("type") == "message" and item.get("phase") == "commentary":
        parts = as_objects(item.get("content"))
        spoken = [part for part in parts if part.get("type") == "output_text"]
        return _texts("commentary", spoken)
    return []


def _texts(source: str, parts: Any) -> list[Thought]:
    texts = [as_text(part.get("text")) for part in as_objects(parts)]
    return [Thought(source, text) for text in texts if text]


def _usage(given: Json) -> Usage | None:
    """Return the tokens of a usage object; OpenAI's input includes the cached."""
    if not given:
        return None
    cached = as_count(as_object(given.get("input_tokens_details")).get("cached_tokens"))
    details = as_object(given.get("output_tokens_details"))
    return Usage(
        input=max(0, as_count(given.get("input_tokens")) - cached),
        output=as_count(given.get("output_tokens")),
        cache_read_input=cached,
        extra={
            "output_reasoning": as_count(details.get("reasoning_tokens")),
            "total_tokens": as_count(given.get("total_tokens")),
        },
    )


def _model(value: Any) -> str:
    if isinstance(value, (int, float)):
        return write_json(value)
    return as_text(value)


def _prompt(last: Json) -> str | None:
    if last.get("role") != "user":
        return None
    content = last.get("content")
    if isinstance(content, str):
        return as_text(content)
    texts = user_texts(content, "input_text")
    return "\n".join(texts) if texts else None


def _correlating_id(last: Json) -> str | None:
    if not as_text(last.get("type")).endswith("_call_output"):
        return None
    return as_text(last.get("call_id")) or None

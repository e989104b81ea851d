"""Tools the gateway runs, in the Anthropic Messages API.

1. Injected tools stand before the client's, so that a cache breakpoint on the client's
   last tool still covers all of them.
2. Blocks of injected calls are hidden; the others are numbered anew, across turns.
3. The results of one turn go into one user message, as the API wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from proxy.sse import EventSplitter, read_event

from .base import Json, ToolCall
from .jsontext import (
    as_count,
    as_object,
    as_objects,
    as_text,
    read_exact_json,
    write_json,
)
from .splice import edit_member, edit_object, extend_array, member_text
from .tooling import (
    OfferedTool,
    Output,
    ToolOutcome,
    items_of,
    object_schema,
    own_names,
    sum_usages,
)

_CUT = {"max_tokens", "refusal", "model_context_window_exceeded"}
_PARALLEL_TYPES = ("auto", "any", "tool", "")


class ToolChoiceError(ValueError):
    """The client's ``tool_choice`` has a shape that nothing is known about."""


class AnthropicTooling:
    """See ``tooling.Tooling``."""

    def offer(self, body: bytes, parsed: Json, tools: Sequence[OfferedTool]) -> bytes:
        given = as_objects(parsed.get("tools"))
        offered = own_names(tools, {as_text(tool.get("name")) for tool in given})
        if not offered:
            return body
        array = items_of(member_text(body, "tools"), "unsupported 'tools' type: {kind}")
        changes = {"tools": extend_array(array, [*map(_tool, offered)], front=True)}
        return edit_object(body, changes | _one_at_a_time(parsed))

    def read_output(self, body: bytes, injected: Container[str]) -> Output:
        message = as_object(read_exact_json(body))
        blocks = as_objects(message.get("content"))
        output = Output(usage=as_object(message.get("usage")))
        output.is_cut = message.get("stop_reason") in _CUT
        for block in blocks:
            _note(output, block, write_json(block.get("input")), injected)
        return output

    def extend(
        self, body: bytes, output: Output, outcomes: Sequence[ToolOutcome]
    ) -> bytes:
        messages = items_of(
            member_text(body, "messages"), "unsupported 'messages' type: {kind}"
        )
        results = [_tool_result(outcome) for outcome in outcomes]
        said = {"role": "assistant", "content": output.items}
        told = {"role": "user", "content": results}
        return edit_object(body, {"messages": extend_array(messages, [said, told])})

    def conceal(self, body: bytes, injected: Container[str]) -> bytes:
        blocks = as_object(read_exact_json(body)).get("content")
        shown = [b for b in as_objects(blocks) if not _is_injected(b, injected)]
        return edit_object(body, {"content": shown})

    def compose(self, body: bytes, own_id: str, usages: Sequence[Json]) -> bytes:
        return edit_object(body, {"id": own_id, "usage": sum_usages(usages)})

    def weaver(self, injected: Container[str], own_id: str) -> MessagesWeaver:
        return MessagesWeaver(injected, own_id)


def _tool(tool: OfferedTool) -> Json:
    schema = object_schema(tool)
    return {
        "type": "custom",
        "name": tool.id,
        "description": tool.description,
        "input_schema": schema,
    }


def disable_parallel_tool_calls(choice: Any) -> Json | None:
    """Return the ``tool_choice`` that allows one call at a time, None to leave it.

    Raises ToolChoiceError for a shape that is not known.
    """
    if choice is None:
        return {"type": "auto", "disable_parallel_tool_use": True}
    if not isinstance(choice, dict):
        raise ToolChoiceError("unsupported tool_choice type")
    kind = choice.get("type", "")
    if not isinstance(kind, str):
        raise ToolChoiceError("unsupported tool_choice.type type")
    if kind == "none":
        return None
    if kind not in _PARALLEL_TYPES:
        raise ToolChoiceError("unsupported tool_choice.type value")
    return {**choice, "type": kind or "auto", "disable_parallel_tool_use": True}


def _one_at_a_time(parsed: Json) -> Json:
    try:
        choice = disable_parallel_tool_calls(parsed.get("tool_choice"))
    except ToolChoiceError:
        return {}
    return {} if choice is None else {"tool_choice": choice}


def _is_injected(block: Json, injected: Container[str]) -> bool:
    return block.get("type") == "tool_use" and as_text(block.get("name")) in injected


def _note(
    output: Output, block: Json, arguments: str, injected: Container[str]
) -> None:
    """Add a finished block to what the model said."""
    if block.get("type") == "text" and not block.get("text"):
        # The API sends empty text blocks but does not take them back.
        return
    output.items.append(block)
    if _is_injected(block, injected):
        call = ToolCall(as_text(block.get("id")), as_text(block["name"]), arguments)
        output.calls.append(call)
    elif block.get("type") == "tool_use":
        output.others = True


def _tool_result(outcome: ToolOutcome) -> Json:
    if outcome.result is None:
        content, failed = [_text(f"Error: calling tool: {outcome.error}")], True
    else:
        content, failed = result_blocks(outcome.result)
    return {
        "type": "tool_result",
        "tool_use_id": outcome.call.id,
        "content": content,
        "is_error": failed,
    }


def result_blocks(result: Json) -> tuple[list[Json], bool]:
    """Return an MCP result as content blocks, and whether something did not fit."""
    blocks: list[Json] = []
    failed = False
    for content in as_objects(result.get("content")):
        text, fits = _content_text(content)
        blocks.append(_text(text))
        failed = failed or not fits
    if not blocks:
        return [_text("Error: no valid tool result content")], True
    return blocks, failed


def _content_text(content: Json) -> tuple[str, bool]:
    kind = content.get("type")
    if kind == "text":
        return as_text(content.get("text")), True
    if kind != "resource":
        return "Error: unsupported tool result type", False
    resource = as_object(content.get("resource"))
    held = resource.get("text", resource.get("blob"))
    if not isinstance(held, str):
        return "Error: unknown embedded resource type", False
    mime, uri = as_text(resource.get("mimeType")), as_text(resource.get("uri"))
    return f"Binary resource (MIME: {mime}, URI: {uri}): {as_text(held)}", True


def _text(text: str) -> Json:
    # The API refuses text blocks without text.
    return {"type": "text", "text": text if text.strip() else "(empty)"}


class MessagesWeaver:
    """See ``tooling.Weaver``."""

    opens = True

    def __init__(self, injected: Container[str], own_id: str) -> None:
        self._injected = injected
        self._own_id = own_id
        self._earlier: list[Json] = []
        self._turns = 0
        self._shown = 0
        self._reset()
        self._on: dict[str, Callable[[Json, bytes], bytes]] = {
            "message_start": self._on_message_start,
            "content_block_start": self._on_block_start,
            "content_block_delta": self._on_block_delta,
            "content_block_stop": self._on_block_stop,
            "message_delta": self._on_message_delta,
            "message_stop": self._on_message_stop,
        }

    def _reset(self) -> None:
        self.output = Output()
        self.ended = False
        self._splitter = EventSplitter()
        self._blocks: dict[int, Json] = {}
        self._arguments: dict[int, list[str]] = {}
        self._numbers: dict[int, int] = {}
        self._held = b""

    def begin_turn(self) -> None:
        if self._turns:
            self._earlier.append(self.output.usage)
            self._reset()
        self._turns += 1

    def feed(self, chunk: bytes) -> bytes:
        return b"".join(map(self._read, self._splitter.feed(chunk)))

    def ending(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def _read(self, raw: bytes) -> bytes:
        name, data = read_event(raw)
        if self.ended:
            return b""
        value = as_object(read_exact_json(data)) if data else {}
        kind = as_text(value.get("type")) or name
        if kind == "error" or value.get("error"):
            self.ended = self.output.is_cut = True
            self._held = raw + b"\n\n"
            return b""
        if kind not in self._on:
            return raw + b"\n\n"
        data = self._on[kind](value, data)
        return _event(kind, data) if data else b""

    def _on_message_start(self, value: Json, data: bytes) -> bytes:
        message = as_object(value.get("message"))
        self.output.usage |= as_object(message.get("usage"))
        if self._turns > 1:
            return b""
        return edit_member(data, "message", {"id": self._own_id})

    def _on_block_start(self, value: Json, data: bytes) -> bytes:
        index = as_count(value.get("index"))
        block = dict(as_object(value.get("content_block")))
        self._blocks[index] = block
        self._arguments[index] = []
        if _is_injected(block, self._injected):
            return b""
        self._numbers[index] = self._shown
        self._shown += 1
        return self._numbered(index, data)

    def _on_block_delta(self, value: Json, data: bytes) -> bytes:
        index = as_count(value.get("index"))
        if (block := self._blocks.get(index)) is not None:
            _grow(block, as_object(value.get("delta")), self._arguments[index])
        return self._numbered(index, data)

    def _on_block_stop(self, value: Json, data: bytes) -> bytes:
        index = as_count(value.get("index"))
        if (block := self._blocks.pop(index, None)) is not None:
            arguments = "".join(self._arguments.pop(index))
            if arguments:
                block["input"] = as_object(read_exact_json(arguments.encode()))
            given = arguments or write_json(block.get("input") or {})
            _note(self.output, block, given, self._injected)
        return self._numbered(index, data)

    def _on_message_delta(self, value: Json, data: bytes) -> bytes:
        given = as_object(value.get("usage"))
        known = {k: v for k, v in given.items() if v is not None}
        self.output.usage = {**self.output.usage, **known}
        reason = as_object(value.get("delta")).get("stop_reason")
        self.output.is_cut = reason in _CUT
        if self.output.continues:
            return b""
        if not self._earlier:
            return data
        usage = sum_usages([*self._earlier, self.output.usage])
        return edit_object(data, {"usage": usage})

    def _on_message_stop(self, value: Json, data: bytes) -> bytes:
        self.ended = True
        if not self.output.continues:
            self._held = _event("message_stop", data)
        return b""

    def _numbered(self, index: int, data: bytes) -> bytes:
        """Return the event with the client's number of its block, b"" if hidden."""
        number = self._numbers.get(index)
        if number is None:
            return b""
        return data if number == index else edit_object(data, {"index": number})


def _grow(block: Json, delta: Json, arguments: list[str]) -> None:
    """Add a delta to the block it belongs to, as the API documents it."""
    kind = delta.get("type")
    if kind == "input_json_delta":
        arguments.append(as_text(delta.get("partial_json")))
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta.get("citation")]
    elif kind == "signature_delta":
        block["signature"] = as_text(delta.get("signature"))
    elif kind in ("text_delta", "thinking_delta"):
        name = "text" if kind == "text_delta" else "thinking"
        block[name] = as_text(block.get(name)) + as_text(delta.get(name))


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"

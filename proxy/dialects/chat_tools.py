"""Tools the gateway runs, in the OpenAI Chat Completions API.

1. Injected tools stand after the client's. One choice only, since a loop runs once.
2. Deltas of injected calls are hidden; the client's own calls are numbered anew.
3. A usage chunk reaches the client once, at the end, with the sum of all turns.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
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
from .splice import edit_object, extend_array, member_text
from .tooling import (
    OfferedTool,
    Output,
    ToolOutcome,
    items_of,
    object_schema,
    own_names,
    result_text,
    sum_usages,
)

_CUT = {"length", "content_filter"}
_DONE = b"[DONE]"


class ChatTooling:
    """See ``tooling.Tooling``."""

    def offer(self, body: bytes, parsed: Json, tools: Sequence[OfferedTool]) -> bytes:
        given = as_objects(parsed.get("tools"))
        taken = {as_text(as_object(tool.get("function")).get("name")) for tool in given}
        offered = own_names(tools, taken)
        if not offered:
            return body
        array = items_of(member_text(body, "tools"), "unsupported 'tools' type: {kind}")
        changes: Json = {
            "tools": extend_array(array, [*map(_tool, offered)]),
            "parallel_tool_calls": False,
        }
        if parsed.get("n") not in (None, 1):
            changes["n"] = 1
        return edit_object(body, changes)

    def read_output(self, body: bytes, injected: Container[str]) -> Output:
        answer = as_object(read_exact_json(body))
        choices = as_objects(answer.get("choices"))
        choice = choices[0] if choices else {}
        output = _output(as_object(choice.get("message")), injected)
        output.is_cut = choice.get("finish_reason") in _CUT
        output.usage = as_object(answer.get("usage"))
        return output

    def extend(
        self, body: bytes, output: Output, outcomes: Sequence[ToolOutcome]
    ) -> bytes:
        messages = items_of(
            member_text(body, "messages"), "unsupported 'messages' type: {kind}"
        )
        told = [_tool_message(outcome) for outcome in outcomes]
        return edit_object(
            body, {"messages": extend_array(messages, [*output.items, *told])}
        )

    def conceal(self, body: bytes, injected: Container[str]) -> bytes:
        answer = as_object(read_exact_json(body))
        choices = [
            {**choice, "message": _without_injected(choice.get("message"), injected)}
            for choice in as_objects(answer.get("choices"))
        ]
        return edit_object(body, {"choices": choices})

    def compose(self, body: bytes, own_id: str, usages: Sequence[Json]) -> bytes:
        changes: Json = {"id": own_id}
        if usage := sum_usages(usages):
            changes["usage"] = usage
        return edit_object(body, changes)

    def weaver(self, injected: Container[str], own_id: str) -> ChatWeaver:
        return ChatWeaver(injected, own_id)


def _tool(tool: OfferedTool) -> Json:
    return {
        "type": "function",
        "function": {
            "name": tool.id,
            "description": tool.description,
            "strict": False,
            "parameters": object_schema(tool),
        },
    }


def _output(message: Json, injected: Container[str]) -> Output:
    output = Output(items=[message] if message else [])
    for call in as_objects(message.get("tool_calls")):
        if _is_injected(call, injected):
            function = as_object(call.get("function"))
            output.calls.append(
                ToolCall(
                    as_text(call.get("id")),
                    as_text(function.get("name")),
                    as_text(function.get("arguments")),
                )
            )
        else:
            output.others = True
    return output


def _is_injected(call: Json, injected: Container[str]) -> bool:
    name = as_text(as_object(call.get("function")).get("name"))
    return name.strip() in injected


def _without_injected(message: Any, injected: Container[str]) -> Any:
    calls = as_objects(as_object(message).get("tool_calls"))
    shown = [call for call in calls if not _is_injected(call, injected)]
    if len(shown) == len(calls):
        return message
    kept = {name: value for name, value in message.items() if name != "tool_calls"}
    return {**kept, "tool_calls": shown} if shown else kept


def _tool_message(outcome: ToolOutcome) -> Json:
    if outcome.result is None:
        content = write_json({"error": True, "message": outcome.error})
    else:
        content = result_text(outcome.result) + "\n"
    return {"role": "tool", "tool_call_id": outcome.call.id, "content": content}


class ChatWeaver:
    """See ``tooling.Weaver``."""

    opens = True

    def __init__(self, injected: Container[str], own_id: str) -> None:
        self._injected = injected
        self._own_id = own_id
        self._earlier: list[Json] = []
        self._turns = 0
        self._shown = 0
        self._reset()

    def _reset(self) -> None:
        self.output = Output()
        self.ended = False
        self._splitter = EventSplitter()
        self._message: Json = {"role": "assistant", "content": None}
        self._calls: dict[int, Json] = {}
        self._numbers: dict[int, int | None] = {}
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
        if self.ended:
            return b""
        data = read_event(raw)[1]
        if data.strip() == _DONE:
            return self._end(raw)
        chunk = as_object(read_exact_json(data)) if data else {}
        if chunk.get("error"):
            self.output.is_cut = True
            return self._end(raw)
        return self._seen(chunk, data) if chunk else raw + b"\n\n"

    def _end(self, raw: bytes) -> bytes:
        self.ended = True
        if not self.output.continues:
            self._held = raw + b"\n\n"
        return b""

    def _seen(self, chunk: Json, data: bytes) -> bytes:
        """Note the chunk; return it as the client may see it, b"" if not at all."""
        choices = as_objects(chunk.get("choices"))
        for choice in choices:
            self._note(choice)
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.output.usage = usage
        shown = [self._visible(choice) for choice in choices]
        changed = shown != choices
        if self.output.continues or (changed and not usage and _is_empty(shown)):
            return b""
        changes: Json = {"id": self._own_id}
        if changed:
            changes["choices"] = shown
        if usage and self._earlier:
            changes["usage"] = sum_usages([*self._earlier, self.output.usage])
        return b"data: " + edit_object(data, changes) + b"\n\n"

    def _note(self, choice: Json) -> None:
        """Add a choice's delta to the message, and finish it on its reason."""
        delta = as_object(choice.get("delta"))
        for entry in as_objects(delta.get("tool_calls")):
            _grow(self._calls.setdefault(as_count(entry.get("index")), {}), entry)
        rest = {k: v for k, v in delta.items() if k not in ("tool_calls", "role")}
        _grow(self._message, rest)
        if reason := choice.get("finish_reason"):
            usage = self.output.usage
            self.output = _output(self._whole_message(), self._injected)
            self.output.usage = usage
            self.output.is_cut = reason in _CUT

    def _whole_message(self) -> Json:
        calls = [
            {name: value for name, value in call.items() if name != "index"}
            for _, call in sorted(self._calls.items())
            if call.get("id")
        ]
        return {**self._message, "tool_calls": calls} if calls else self._message

    def _visible(self, choice: Json) -> Json:
        """Return a choice without what the client must not see."""
        delta = dict(as_object(choice.get("delta")))
        if self._turns > 1:
            # The role came with the first turn; accumulators would join the two.
            delta.pop("role", None)
        if "tool_calls" in delta:
            calls = [self._numbered(e) for e in as_objects(delta["tool_calls"])]
            delta["tool_calls"] = [call for call in calls if call is not None]
            if not delta["tool_calls"]:
                del delta["tool_calls"]
        return {**choice, "delta": delta} if "delta" in choice else choice

    def _numbered(self, entry: Json) -> Json | None:
        """Return a tool call's delta with the client's number of it, None if hidden."""
        index = as_count(entry.get("index"))
        if index not in self._numbers:
            hidden = _is_injected(self._calls[index], self._injected)
            self._numbers[index] = None if hidden else self._shown
            self._shown += not hidden
        number = self._numbers[index]
        return None if number is None else {**entry, "index": number}


def _grow(whole: Json, delta: Json) -> None:
    """Add a delta to what it belongs to: texts and lists join, the rest replaces."""
    for name, value in delta.items():
        before = whole.get(name)
        if name in ("id", "type", "name", "index"):
            whole[name] = value or before
        elif any(type(before) is type(value) is kind for kind in (str, list)):
            whole[name] = before + value
        elif isinstance(value, dict) and isinstance(before, dict):
            _grow(before, value)
        elif value is not None or name not in whole:
            whole[name] = dict(value) if isinstance(value, dict) else value


def _is_empty(choices: list[Json]) -> bool:
    """Say whether choices tell the client nothing."""
    return not any(
        choice.get("finish_reason") or any(as_object(choice.get("delta")).values())
        for choice in choices
    )

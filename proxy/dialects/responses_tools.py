"""Tools the gateway runs, in the OpenAI Responses API.

1. A turn's stream is held until it ends: only then is known whether it is the last.
2. Response ids stay upstream's own, since clients send them as previous_response_id.
3. A turn inside a ``conversation`` repeats nothing, as upstream keeps its items.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from proxy.sse import EventSplitter, read_event

from .base import Json, ToolCall
from .jsontext import as_object, as_objects, as_text, read_exact_json, write_json
from .splice import Raw, edit_member, edit_object, extend_array, member_text
from .tooling import (
    OfferedTool,
    Output,
    ToolOutcome,
    ToolsRefused,
    json_kind,
    object_schema,
    own_names,
    result_text,
    sum_usages,
)

_REPEATED = {
    "message",
    "file_search_call",
    "function_call",
    "web_search_call",
    "computer_call",
    "reasoning",
    "compaction",
    "image_generation_call",
    "code_interpreter_call",
    "custom_tool_call",
}
_CLIENT_RUN = {
    "function_call",
    "custom_tool_call",
    "computer_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "mcp_approval_request",
}
_COMPLETED = ("response.completed", "response.incomplete", "response.done")
_ENDINGS = (*_COMPLETED, "response.failed", "error")


class ResponsesTooling:
    """See ``tooling.Tooling``."""

    def offer(self, body: bytes, parsed: Json, tools: Sequence[OfferedTool]) -> bytes:
        given = as_objects(parsed.get("tools"))
        offered = own_names(tools, {as_text(tool.get("name")) for tool in given})
        if not offered:
            return body
        array = member_text(body, "tools") or Raw("null")
        if (kind := json_kind(array)) not in ("Array", "Null"):
            raise ToolsRefused(
                f"failed to get existing tools: unsupported 'tools' type: {kind}"
            )
        old = array if kind == "Array" else Raw("[]")
        changes = {
            "tools": extend_array(old, [*map(_tool, offered)]),
            "parallel_tool_calls": False,
        }
        return edit_object(body, changes)

    def read_output(self, body: bytes, injected: Container[str]) -> Output:
        return output_of(as_object(read_exact_json(body)), injected)

    def extend(
        self, body: bytes, output: Output, outcomes: Sequence[ToolOutcome]
    ) -> bytes:
        results = [_function_output(outcome) for outcome in outcomes]
        parsed = as_object(read_exact_json(body))
        if parsed.get("conversation"):
            return edit_object(body, {"input": results})
        said = repeated_items(output.items, stored=parsed.get("store") is not False)
        return append_input(body, [*said, *results])

    def conceal(self, body: bytes, injected: Container[str]) -> bytes:
        items = as_objects(as_object(read_exact_json(body)).get("output"))
        shown = [item for item in items if not _is_injected(item, injected)]
        return edit_object(body, {"output": shown})

    def compose(self, body: bytes, own_id: str, usages: Sequence[Json]) -> bytes:
        usage = sum_usages(usages)
        return edit_object(body, {"usage": usage}) if usage else body

    def weaver(self, injected: Container[str], own_id: str) -> ResponsesWeaver:
        return ResponsesWeaver(injected)


def _tool(tool: OfferedTool) -> Json:
    return {
        "type": "function",
        "name": tool.id,
        "description": tool.description,
        "strict": False,
        "parameters": object_schema(tool),
    }


def append_input(body: bytes, items: Sequence[Json]) -> bytes:
    """Return the body with items behind its input; text becomes a user message.

    Raises ToolsRefused when the input is neither text nor a list.
    """
    if not items:
        return body
    given = member_text(body, "input") or Raw("null")
    kind = json_kind(given)
    if kind == "String":
        given = Raw(f'[{{"role":"user","content":{given}}}]')
    elif kind == "Null":
        given = Raw("[]")
    elif kind != "Array":
        raise ToolsRefused(
            f"failed to get existing 'input' items: unsupported 'input' type: {kind}"
        )
    return edit_object(body, {"input": extend_array(given, items)})


def repeated_items(items: Sequence[Json], *, stored: bool) -> list[Json]:
    """Return the items of an answer that a further request may repeat.

    What upstream does not store can only be repeated whole: a reasoning item without
    its encrypted content would be looked up in vain.
    """
    return [
        item
        for item in items
        if item.get("type") in _REPEATED
        and (stored or item.get("type") != "reasoning" or item.get("encrypted_content"))
    ]


def output_of(response: Json, injected: Container[str]) -> Output:
    """Return what the model said in a response object."""
    output = Output(items=as_objects(response.get("output")))
    output.usage = as_object(response.get("usage"))
    output.is_cut = response.get("status") not in (None, "completed")
    for item in output.items:
        if _is_injected(item, injected):
            call = ToolCall(
                as_text(item.get("call_id")),
                as_text(item.get("name")),
                as_text(item.get("arguments")),
                item_id=as_text(item.get("id")),
            )
            output.calls.append(call)
        elif item.get("type") in _CLIENT_RUN:
            output.others = True
    return output


def _is_injected(item: Json, injected: Container[str]) -> bool:
    is_call = item.get("type") == "function_call"
    return is_call and as_text(item.get("name")) in injected


def _function_output(outcome: ToolOutcome) -> Json:
    told = f"invocation error: {write_json(outcome.error)}"
    if outcome.result is not None:
        told = result_text(outcome.result)
    return {
        "type": "function_call_output",
        "call_id": outcome.call.id,
        "output": told,
    }


class ResponsesWeaver:
    """See ``tooling.Weaver``; holds every turn whole."""

    opens = False

    def __init__(self, injected: Container[str]) -> None:
        self._injected = injected
        self._earlier: list[Json] = []
        self._turns = 0
        self._reset()

    def _reset(self) -> None:
        self.output = Output()
        self.ended = False
        self._splitter = EventSplitter()
        self._events: list[bytes] = []
        self._items: list[Json] = []

    def begin_turn(self) -> None:
        if self._turns:
            self._earlier.append(self.output.usage)
            self._reset()
        self._turns += 1

    def feed(self, chunk: bytes) -> bytes:
        for raw in self._splitter.feed(chunk):
            self._read(raw)
        return b""

    def ending(self) -> bytes:
        """Return the turn's events: as they came, unless something is to be hidden."""
        events, self._events = self._events, []
        if self.output.calls:
            events = _without_injected(events, self._injected)
        if self._earlier and events:
            events[-1] = self._with_sum(events[-1])
        return b"".join(raw + b"\n\n" for raw in events)

    def _read(self, raw: bytes) -> None:
        if self.ended:
            return
        self._events.append(raw)
        name, data = read_event(raw)
        value = as_object(read_exact_json(data)) if _matters(raw) else {}
        kind = as_text(value.get("type")) or name
        if kind == "response.output_item.done":
            self._items.append(as_object(value.get("item")))
        elif kind in _ENDINGS or value.get("error"):
            self._end(as_object(value.get("response")), kind)

    def _end(self, response: Json, kind: str) -> None:
        # Some upstreams leave the output out of the last event.
        whole = {**response, "output": response.get("output") or self._items}
        self.output = output_of(whole, self._injected)
        self.output.is_cut |= kind not in ("response.completed", "response.done")
        self.ended = True

    def _with_sum(self, raw: bytes) -> bytes:
        name, data = read_event(raw)
        if name not in _COMPLETED and not any(
            kind.encode() in data[:200] for kind in _COMPLETED
        ):
            return raw
        usage = sum_usages([*self._earlier, self.output.usage])
        edited = edit_member(data, "response", {"usage": usage}) if usage else data
        return _event(name, edited)


def _matters(raw: bytes) -> bool:
    """Say whether an event can be one of those that are read; deltas are not."""
    return b".delta" not in raw[:120]


def _event(name: str, data: bytes) -> bytes:
    return (b"event: " + name.encode() + b"\n" if name else b"") + b"data: " + data


def _without_injected(events: list[bytes], injected: Container[str]) -> list[bytes]:
    """Return the events without the items of injected calls, the rest renumbered."""
    hidden: list[int] = []
    shown = []
    for raw in events:
        name, data = read_event(raw)
        value = as_object(read_exact_json(data)) if data else {}
        index = value.get("output_index")
        if _is_injected(as_object(value.get("item")), injected):
            hidden.append(index if isinstance(index, int) else -1)
        if isinstance(index, int):
            if index in hidden:
                continue
            number = index - sum(before < index for before in set(hidden))
            if number != index:
                raw = _event(name, edit_object(data, {"output_index": number}))
        output = as_objects(as_object(value.get("response")).get("output"))
        if any(_is_injected(item, injected) for item in output):
            kept = [item for item in output if not _is_injected(item, injected)]
            raw = _event(name, edit_member(data, "response", {"output": kept}))
        shown.append(raw)
    return shown

"""What each API must answer so that the gateway can run tools for the model.

Pure: texts and dicts. A dialect's tooling puts tools into a request, reads what the
model said, repeats it together with the tools' results, and makes several turns look
like one answer.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .base import Json, ToolCall
from .jsontext import as_object, read_exact_json, write_json
from .splice import Raw

MOST_TOOLS = 128


class ToolsRefused(ValueError):
    """The client's body has no place for tools; the message says why."""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool as a model sees it; ``schema`` is the JSON Schema of its arguments."""

    id: str
    description: str
    schema: Json


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What came of a call: an MCP result, or the error that kept it from having one."""

    call: ToolCall
    result: Json | None = None
    error: str = ""


@dataclass(slots=True)
class Output:
    """What the model said in one turn.

    ``items`` is what the next request repeats, ``calls`` are those of injected tools.
    ``others`` says that it also called tools the client has to run. ``is_cut`` says
    that the answer stopped before the model was done.
    """

    items: list[Json] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    others: bool = False
    is_cut: bool = False
    usage: Json = field(default_factory=dict)

    @property
    def continues(self) -> bool:
        """Whether the gateway runs the calls and asks again.

        It does not when the client has to run a tool first: the client must get its
        call, and an answer can be given to either of them only.
        """
        return bool(self.calls) and not self.others and not self.is_cut


class Weaver(Protocol):
    """Makes the streams of several turns one stream; one for each client's request."""

    output: Output
    """What the current turn said so far."""

    ended: bool
    """Whether the current turn's terminal event was seen."""

    opens: bool
    """Whether the client's stream begins before the tools of a turn have run."""

    def begin_turn(self) -> None:
        """Expect the stream of a further turn."""

    def feed(self, chunk: bytes) -> bytes:
        """Read the next bytes of the turn; return those the client may see already."""

    def ending(self) -> bytes:
        """Return what was held back of the last turn, its terminal event included."""


class Tooling(Protocol):
    """One API's way with tools. Instances are stateless."""

    def offer(self, body: bytes, parsed: Json, tools: Sequence[OfferedTool]) -> bytes:
        """Return the body with the tools; raises ToolsRefused, or NotAnObject."""

    def read_output(self, body: bytes, injected: Container[str]) -> Output:
        """Read what the model said in a whole answer."""

    def extend(
        self, body: bytes, output: Output, outcomes: Sequence[ToolOutcome]
    ) -> bytes:
        """Return the body of the next turn's request."""

    def conceal(self, body: bytes, injected: Container[str]) -> bytes:
        """Return a whole answer without calls of injected tools."""

    def compose(self, body: bytes, own_id: str, usages: Sequence[Json]) -> bytes:
        """Return the last of several answers as the answer to it all."""

    def weaver(self, injected: Container[str], own_id: str) -> Weaver:
        """Return what makes one stream of the turns of a request."""


def sum_usages(usages: Sequence[Json]) -> Json:
    """Return the last usage with its numbers, also nested ones, summed over all."""
    total: Json = {}
    for usage in usages:
        total = _added(total, usage)
    return total


def _added(total: Json, usage: Json) -> Json:
    result = dict(total)
    for name, value in usage.items():
        before = result.get(name)
        if isinstance(value, dict):
            result[name] = _added(as_object(before), value)
        elif _is_number(value) and _is_number(before):
            result[name] = before + value
        elif value is not None or before is None:
            result[name] = value
    return result


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def object_schema(tool: OfferedTool) -> Json:
    """Return the part of a tool's schema that providers take."""
    schema = {"type": "object", "properties": as_object(tool.schema.get("properties"))}
    required = tool.schema.get("required")
    if isinstance(required, list) and required:
        schema["required"] = required
    for name in ("$defs", "definitions"):
        if tool.schema.get(name):
            schema[name] = tool.schema[name]
    return schema


def items_of(array: Raw | None, error: str) -> Raw:
    """Return a member's array, an empty one when it is absent or null.

    Raises ToolsRefused with the error, ``{kind}`` filled in, when it is no array.
    """
    if array is None or array.strip() == "null":
        return Raw("[]")
    if not array.lstrip().startswith("["):
        raise ToolsRefused(error.format(kind=json_kind(array)))
    return array


def json_kind(text: str) -> str:
    """Return the name of a JSON value's type: Object, Array, String, Number, ..."""
    first = text.lstrip()[:1]
    names = {"{": "Object", "[": "Array", '"': "String", "t": "True", "f": "False"}
    return names.get(first, "Null" if first == "n" else "Number")


def own_names(tools: Sequence[OfferedTool], taken: Container[str]) -> list[OfferedTool]:
    """Return the tools whose ids the client's own tools do not use."""
    return [tool for tool in tools if tool.id not in taken]


def arguments_of(call: ToolCall) -> Json | None:
    """Return the call's arguments, None when they are no JSON object."""
    text = call.arguments.strip() or "{}"
    value = read_exact_json(text.encode("utf-8", "replace"))
    return value if isinstance(value, dict) else None


def result_text(result: Json) -> str:
    """Return an MCP result as JSON text, without what only concerns the protocol."""
    told = {
        name: value
        for name, value in result.items()
        if name not in ("_meta", "resultType")
    }
    return write_json(told)

"""What a made-up model says, before any API gives it a shape; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool the made-up model asks for."""

    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Reply:
    """What a made-up model says; ``text`` and ``thinking`` come in these pieces.

    ``id`` is the bare part: each API puts its own prefix before it.
    """

    id: str
    model: str
    text: tuple[str, ...]
    thinking: tuple[str, ...] = ()
    tool: ToolRequest | None = None
    input_tokens: int = 12
    output_tokens: int = 34
    created: int = 1_750_000_000

    @property
    def whole_text(self) -> str:
        return "".join(self.text)

    @property
    def whole_thinking(self) -> str:
        return "".join(self.thinking)


def sse_event(data: Json) -> bytes:
    """Return a named event: its name is the data's type."""
    return b"event: %s\n%s" % (data["type"].encode(), sse_data(data))


def sse_data(data: Json) -> bytes:
    """Return an event that has only data."""
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def json_pieces(value: Json) -> list[str]:
    """Return tool arguments as a model streams them: JSON text in pieces."""
    text = json.dumps(value)
    return [text[at : at + 12] for at in range(0, len(text), 12)]

"""What the recorder is told of an interception: shapes only.

Answers are read structurally: whoever has these attributes can be recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID


class UsageLike(Protocol):
    """Tokens of one upstream answer."""

    input: int
    output: int
    cache_read_input: int
    cache_write_input: int
    extra: dict[str, int]
    metadata: dict[str, Any]


class ToolCallLike(Protocol):
    """A tool the model asked for; ``kind`` is a value of ToolKind."""

    id: str
    name: str
    arguments: str
    kind: str
    item_id: str


class ThoughtLike(Protocol):
    """Text the model thought; ``source`` is a value of ThoughtSource."""

    source: str
    content: str


class TurnLike(Protocol):
    """One upstream answer, as far as it was seen."""

    @property
    def response_id(self) -> str: ...
    @property
    def usage(self) -> UsageLike | None: ...
    @property
    def tool_calls(self) -> Sequence[ToolCallLike]: ...
    @property
    def thoughts(self) -> Sequence[ThoughtLike]: ...
    @property
    def stop_reason(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Start:
    """What is known of an interception before anything goes upstream."""

    initiator_id: int
    token_id: UUID | None
    provider_id: UUID | None
    provider_name: str
    provider_kind: str
    dialect: str
    route: str
    model: str
    streaming: bool
    client: str
    user_agent: str
    client_session_id: str | None
    correlating_tool_call_id: str | None
    credential_kind: str
    credential_hint: str
    prompt: str | None
    metadata: dict[str, Any] = field(default_factory=dict)

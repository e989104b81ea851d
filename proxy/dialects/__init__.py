"""The API shapes the gateway speaks; each is one pure module behind one contract."""

from __future__ import annotations

from .anthropic_messages import AnthropicMessages
from .base import (
    BadRequestBody,
    BridgedRequest,
    Dialect,
    StreamReader,
    Thought,
    ToolCall,
    Turn,
    TurnError,
    Usage,
)
from .openai_chat import OpenAIChat
from .openai_responses import OpenAIResponses

__all__ = [
    "AnthropicMessages",
    "BadRequestBody",
    "BridgedRequest",
    "Dialect",
    "OpenAIChat",
    "OpenAIResponses",
    "StreamReader",
    "Thought",
    "ToolCall",
    "Turn",
    "TurnError",
    "Usage",
    "get",
]

_DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (AnthropicMessages(), OpenAIChat(), OpenAIResponses())
}


def get(name: str) -> Dialect:
    """Return the shared dialect of that name; raises KeyError when there is none."""
    return _DIALECTS[name]

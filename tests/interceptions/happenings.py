"""Makes traffic for tests of reading: interceptions as the recorder stores them."""

from __future__ import annotations

from typing import Any

from interceptions import recorder
from interceptions.models import Interception
from proxy.dialects.base import Thought, ToolCall, Turn, Usage
from tests.interceptions.rows import attempt_facts, start_facts


def happen(
    user: Any,
    *,
    session: str | None = "s-1",
    answers: str | None = None,
    prompt: str | None = "fix the test",
    turns: list[Turn] | None = None,
    error: tuple[str, str] | None = None,
    attempts: list[dict[str, Any]] | None = None,
    hint: str = "sk-a...9xQ2",
    **facts: Any,
) -> Interception:
    """Record one whole interception; ``answers`` is the tool call it follows."""
    recording = recorder.start(
        start_facts(
            user,
            client_session_id=session,
            correlating_tool_call_id=answers,
            prompt=None if answers else prompt,
            **facts,
        )
    )
    for attempt in attempts if attempts is not None else [attempt_facts()]:
        recording.attempt(**attempt)
    for turn in turns if turns is not None else [] if error else [turn_of()]:
        recording.turn(turn)
    recording.end(status_code=429 if error else 200, error=error, credential_hint=hint)
    return Interception.objects.get(pk=recording.id)


def turn_of(
    *tools: str,
    thought: str = "",
    tokens: tuple[int, int, int, int] = (10, 20, 30, 40),
    extra: dict[str, int] | None = None,
) -> Turn:
    """Return an answer that calls tools by these ids."""
    return Turn(
        response_id="msg_1",
        model="claude-sonnet-4-5",
        usage=Usage(*tokens, extra=extra or {}),
        tool_calls=[ToolCall(id, "Bash", '{"command": "ls"}') for id in tools],
        thoughts=[Thought("thinking", thought)] if thought else [],
        stop_reason="tool_use" if tools else "end_turn",
    )

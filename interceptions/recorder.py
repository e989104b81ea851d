"""Writes down what happens to one interception; the only writer of these tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import DatabaseError, transaction

from interceptions.models import (
    Attempt,
    Interception,
    ModelThought,
    TokenUsage,
    ToolUsage,
    UserPrompt,
)
from providers.database import give_back
from providers.ids import new_id


@dataclass(frozen=True, slots=True)
class Start:
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


class RecordingUnavailable(Exception):
    """The start could not be committed."""


def start(facts: Start) -> Recording:
    """Commit the interception's start."""
    recording = Recording(facts)
    try:
        recording.begin()
    except DatabaseError as error:
        raise RecordingUnavailable(str(error)) from error
    finally:
        give_back()
    return recording


class Recording:
    """One interception's record."""

    def __init__(self, facts: Start) -> None:
        self.id = new_id()
        self._facts = facts
        self._ended = False
        self._first_byte_at: datetime | None = None
        self._turns: list[Any] = []
        self._attempts: list[dict[str, Any]] = []
        self._tools: list[dict[str, Any]] = []

    def begin(self) -> None:
        fields = asdict(self._facts)
        prompt = fields.pop("prompt")
        with transaction.atomic():
            Interception.objects.create(
                id=self.id,
                started_at=datetime.now(UTC),
                session_id=self._facts.client_session_id or str(self.id),
                thread_id=self.id,
                **fields,
            )
            if prompt is not None:
                UserPrompt.objects.create(interception_id=self.id, prompt=prompt)

    def attempt(self, **facts: Any) -> None:
        self._attempts.append(facts)

    def first_byte(self) -> None:
        self._first_byte_at = datetime.now(UTC)

    def turn(self, turn: Any) -> None:
        self._turns.append(turn)

    def injected_tool(self, **facts: Any) -> None:
        self._tools.append(facts)

    def end(
        self,
        *,
        status_code: int | None,
        error: tuple[str, str] | None = None,
        cancelled: bool = False,
        credential_hint: str | None = None,
    ) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            with transaction.atomic():
                self._store(status_code, error, cancelled, credential_hint)
        finally:
            give_back()

    def _store(self, status_code, error, cancelled, hint) -> None:  # type: ignore[no-untyped-def]
        for position, facts in enumerate(self._attempts):
            Attempt.objects.create(interception_id=self.id, position=position, **facts)
        for facts in self._tools:
            ToolUsage.objects.create(interception_id=self.id, injected=True, **facts)
        sums = {"input": 0, "output": 0, "cache_read_input": 0, "cache_write_input": 0}
        for number, turn in enumerate(self._turns):
            self._store_turn(number, turn, sums)
        Interception.objects.filter(id=self.id, ended_at=None).update(
            ended_at=datetime.now(UTC),
            first_byte_at=self._first_byte_at,
            status_code=status_code,
            error_type=error[0] if error else None,
            error_message=error[1][:1024] if error else None,
            cancelled=cancelled,
            credential_hint=hint or self._facts.credential_hint,
            turns=len(self._turns),
            response_id=self._turns[0].response_id if self._turns else "",
            stop_reason=self._turns[-1].stop_reason if self._turns else "",
            tool_calls=sum(len(t.tool_calls) for t in self._turns),
            **{f"{name}_tokens": count for name, count in sums.items()},
        )

    def _store_turn(self, number: int, turn: Any, sums: dict[str, int]) -> None:
        if turn.usage is not None:
            counts = {name: getattr(turn.usage, name) for name in sums}
            for name, count in counts.items():
                sums[name] += count
            TokenUsage.objects.create(
                interception_id=self.id,
                turn=number,
                provider_response_id=turn.response_id,
                extra=turn.usage.extra,
                metadata=turn.usage.metadata,
                **{f"{name}_tokens": count for name, count in counts.items()},
            )
        for call in turn.tool_calls:
            ToolUsage.objects.create(
                interception_id=self.id,
                turn=number,
                provider_response_id=turn.response_id,
                tool_call_id=call.id,
                item_id=call.item_id,
                kind=call.kind,
                tool=call.name,
                input=call.arguments,
            )
        for thought in turn.thoughts:
            ModelThought.objects.create(
                interception_id=self.id,
                turn=number,
                source=thought.source,
                content=thought.content,
            )


def begin_worker() -> None:
    """Begin to record."""


def end_worker() -> None:
    """Store what is still in memory."""

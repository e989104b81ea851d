"""Writes down what happens to one interception: the only way into these tables.

Knows what an interception consists of and when it must be committed (decisions D7),
not how rows get into a database: ``writer`` does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from django.conf import settings

from interceptions import recording_process, worker
from interceptions.choices import AttemptOutcome, CredentialKind, ErrorType
from interceptions.committer import DatabaseAway
from interceptions.errors import stored_message, whole_error
from interceptions.facts import Start, ThoughtLike, ToolCallLike, TurnLike, UsageLike
from interceptions.models import (
    Attempt,
    ModelThought,
    TokenUsage,
    ToolUsage,
    UserPrompt,
)
from interceptions.records import (
    LAST_PROMPT,
    LEAST_WEIGHT,
    START,
    SUMS,
    Record,
    Row,
    clean,
    ended,
    fitted,
    fitted_start,
)
from interceptions.writer import QueueFull
from providers import registry
from providers.ids import new_id

logger = logging.getLogger(__name__)

begin_worker = worker.begin
end_worker = worker.end

# Facts of a start that are stored under their own names.
_AS_GIVEN = tuple(name for name in START if name in Start.__dataclass_fields__)
_MOST_TOKENS = 10**12
_MOST_MILLISECONDS = 2**31 - 1
_NOT_CONFIRMED = "the record was not confirmed in time; nothing was sent upstream"


class RecordingUnavailable(Exception):
    """The start could not be committed, so nothing may go upstream."""


def start(facts: Start) -> Recording:
    """Commit the interception's start and return its recording.

    Raises RecordingUnavailable if that takes longer than AIBRIDGE_COMMIT_SECONDS.
    """
    interception = new_id()
    record = _start_record(interception, facts)
    _commit_start(record)
    return Recording(record, facts.credential_kind)


def _commit_start(record: Record) -> None:
    process = recording_process.current()
    seconds = settings.AIBRIDGE_COMMIT_SECONDS
    try:
        ticket = process.sink.submit(record, seconds, journals=False)
    except QueueFull as error:
        raise RecordingUnavailable("too many records wait") from error
    is_settled = False
    try:
        is_settled = ticket.wait(seconds)
    finally:
        # Also when whoever waits is killed: nobody will end this interception.
        if not is_settled and not process.sink.withdraw(ticket):
            _disown(record)
    if not is_settled:
        raise RecordingUnavailable("the database did not commit in time")
    if ticket.error is not None:
        if isinstance(ticket.error, DatabaseAway) and ticket.error.tried:
            _disown(record)
        raise RecordingUnavailable(str(ticket.error)) from ticket.error


def _disown(record: Record) -> None:
    """End an interception that may or may not have been stored."""
    end = ended(
        record.interception,
        error_type=ErrorType.SERVER_ERROR.value,
        error_message=_NOT_CONFIRMED,
    )
    ending = Record(record.interception, end=end)
    recording_process.current().keep([ending])


class Recording:
    """One interception's record. Nothing here raises what a database does."""

    __slots__ = (
        "_begun",
        "_credential_kind",
        "_first_byte_at",
        "_is_ended",
        "_positions",
        "_response_id",
        "_rows",
        "_stop_reason",
        "_sums",
        "_tool_calls",
        "_turns",
        "_weight",
        "id",
    )

    def __init__(self, begun: Record, credential_kind: str) -> None:
        self.id = begun.interception
        self._begun = begun
        self._credential_kind = credential_kind
        self._rows: dict[str, list[Row]] = {}
        self._sums = dict.fromkeys(SUMS, 0)
        self._tool_calls = 0
        self._turns = 0
        self._positions = 0
        self._response_id = ""
        self._stop_reason = ""
        self._first_byte_at: datetime | None = None
        self._is_ended = False
        self._weight = LEAST_WEIGHT

    def attempt(
        self,
        *,
        turn: int,
        key_id: UUID | None,
        key_hint: str,
        status: int | None,
        outcome: str,
        retry_after: float | None,
        cooldown: float | None,
        upstream_request_id: str,
        detail: str,
        started_at: datetime,
        headers_ms: int | None,
    ) -> None:
        """Note one key's try.

        What came before is stored without waiting when it will not be the last: after
        a try that failed, and when a next turn begins.
        """
        if turn and self._rows:
            self._store_so_far()
        row = {
            "turn": turn,
            "position": self._positions,
            "key_id": key_id,
            "key_hint": key_hint,
            "status": status,
            "outcome": outcome,
            "retry_after": retry_after,
            "cooldown": cooldown,
            "upstream_request_id": upstream_request_id,
            "detail": stored_message(detail, registry.known_secrets()),
            "started_at": started_at,
            "headers_ms": _milliseconds(headers_ms),
        }
        self._positions += 1
        self._add("attempts", fitted(Attempt, row))
        if outcome != AttemptOutcome.ACCEPTED:
            self._store_so_far()

    def first_byte(self) -> None:
        """Note that upstream's answer began."""
        self._first_byte_at = self._first_byte_at or _now()

    def turn(self, turn: TurnLike) -> None:
        """Note what one upstream answer brought; an answer that never came is none."""
        if not (turn.response_id or turn.usage or turn.tool_calls or turn.thoughts):
            return
        number, self._turns = self._turns, self._turns + 1
        self._response_id = self._response_id or turn.response_id
        self._stop_reason = turn.stop_reason or self._stop_reason
        if turn.usage is not None:
            self._add_usage(number, turn.response_id, turn.usage)
        for call in turn.tool_calls:
            self._add_tool(_tool_row(number, turn.response_id, call))
        for thought in turn.thoughts:
            self._add_thought(number, thought)

    def injected_tool(
        self,
        *,
        turn: int,
        tool_call_id: str,
        item_id: str,
        tool: str,
        input: str,
        server_name: str,
        server_url: str,
        invocation_error: str,
        duration_ms: int | None,
    ) -> None:
        """Note a tool the gateway ran; it takes the place of the model's call of it."""
        facts = {
            "tool": tool,
            "input": input,
            "server_name": server_name,
            "server_url": server_url,
            "injected": True,
            "invocation_error": stored_message(
                invocation_error, registry.known_secrets()
            ),
            "duration_ms": _milliseconds(duration_ms),
        }
        for row in self._rows.get("tool_usages", ()):
            if row["turn"] == turn and row["tool_call_id"] == tool_call_id:
                fitted(ToolUsage, row.update(facts) or row)
                return
        call = _Call(tool_call_id, tool, input, "function", item_id)
        self._add_tool(_tool_row(turn, "", call) | facts)

    def end(
        self,
        *,
        status_code: int | None,
        error: tuple[str, str] | None = None,
        cancelled: bool = False,
        credential_hint: str | None = None,
    ) -> None:
        """Commit everything that is known; the first end counts.

        Returns once it is committed or, when that does not happen within
        AIBRIDGE_COMMIT_SECONDS, flushed to the local journal.
        """
        if self._is_ended:
            return
        self._is_ended = True
        try:
            self._end(
                status_code, None if cancelled else error, cancelled, credential_hint
            )
        except Exception:
            # The client's answer must not fail for its record.
            logger.exception("record not kept", extra={"interception_id": self.id})

    def _end(
        self,
        status_code: int | None,
        error: tuple[str, str] | None,
        cancelled: bool,
        credential_hint: str | None,
    ) -> None:
        is_pooled = self._credential_kind == CredentialKind.CENTRALIZED
        error_type, message = whole_error(error, registry.known_secrets())
        end = ended(
            self.id,
            error_type=error_type,
            error_message=message,
            first_byte_at=self._first_byte_at,
            cancelled=cancelled,
            status_code=status_code,
            response_id=self._response_id,
            stop_reason=self._stop_reason,
            turns=self._turns,
            tool_calls=self._tool_calls,
            credential_hint=credential_hint if is_pooled else None,
            **cast("dict[str, Any]", self._sums),
        )
        recording_process.current().commit_or_keep(self._record(end))

    def _record(self, end: Row | None) -> Record:
        rows, self._rows = self._rows, {}
        weight, self._weight = self._weight, LEAST_WEIGHT
        return Record(self.id, None, rows, end, weight, self._begun)

    def _store_so_far(self) -> None:
        record = self._record(None)
        try:
            recording_process.current().sink.submit(record)
        except QueueFull:
            # Nobody waits for these rows: they may go with the end.
            self._rows = record.rows

    def _add(self, table: str, row: Row) -> None:
        row["id"] = new_id()
        row["interception_id"] = self.id
        self._rows.setdefault(table, []).append(row)

    def _add_thought(self, turn: int, thought: ThoughtLike) -> None:
        row = {
            "turn": turn,
            "source": thought.source,
            "content": thought.content,
            "created_at": _now(),
        }
        self._weight += len(thought.content)
        self._add("thoughts", fitted(ModelThought, row))

    def _add_tool(self, row: Row) -> None:
        self._tool_calls += 1
        self._weight += len(row["input"])
        self._add("tool_usages", fitted(ToolUsage, row))

    def _add_usage(self, turn: int, response_id: str, usage: UsageLike) -> None:
        counts = {
            "input_tokens": usage.input,
            "output_tokens": usage.output,
            "cache_read_input_tokens": usage.cache_read_input,
            "cache_write_input_tokens": usage.cache_write_input,
        }
        if not all(_is_count(count) for count in counts.values()):
            logger.warning("implausible usage", extra={"interception_id": self.id})
            return
        for name, count in counts.items():
            self._sums[name] += count
        row = {
            "turn": turn,
            "provider_response_id": response_id,
            **counts,
            "extra": clean(usage.extra),
            "metadata": clean(usage.metadata),
            "created_at": _now(),
        }
        self._add("token_usages", fitted(TokenUsage, row))


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    arguments: str
    kind: str
    item_id: str


def _start_record(interception: UUID, facts: Start) -> Record:
    now = _now()
    row: Row = {name: getattr(facts, name) for name in _AS_GIVEN}
    row.update(
        id=interception,
        client_session_id=facts.client_session_id or None,
        correlating_tool_call_id=facts.correlating_tool_call_id or None,
        started_at=now,
        worker=recording_process.current().worker,
        last_prompt="",
    )
    fitted_start(row)
    if facts.prompt is None:
        return Record(interception, row)
    prompt: Row = {"interception_id": interception, "prompt": facts.prompt}
    prompt = fitted(UserPrompt, prompt | {"id": new_id(), "created_at": now})
    row["last_prompt"] = prompt["prompt"][:LAST_PROMPT]
    weight = LEAST_WEIGHT + len(prompt["prompt"])
    return Record(interception, row, {"prompts": [prompt]}, None, weight)


def _tool_row(turn: int, response_id: str, call: ToolCallLike) -> Row:
    return {
        "turn": turn,
        "provider_response_id": response_id,
        "tool_call_id": call.id,
        "item_id": call.item_id,
        "kind": call.kind,
        "tool": call.name,
        "input": call.arguments,
        "server_name": "",
        "server_url": "",
        "injected": False,
        "invocation_error": "",
        "duration_ms": None,
        "created_at": _now(),
    }


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_TOKENS


def _milliseconds(value: int | None) -> int | None:
    return None if value is None else min(max(0, int(value)), _MOST_MILLISECONDS)


def _now() -> datetime:
    return datetime.now(UTC)

"""Interceptions and sessions as JSON: one code path for REST, exports and commands.

Ids and times stay what they are; ``providers.api.rendering`` writes them as text. Rows
are read in batches, so that a whole table can be walked in constant memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.db.models import Model, Q, QuerySet

from interceptions.models import (
    Attempt,
    ModelThought,
    TokenUsage,
    ToolUsage,
    UserPrompt,
)
from interceptions.tokens import COUNTS
from providers.database import give_back
from providers.querying import is_one_of

BATCH = 500

Row = dict[str, Any]
Payload = dict[str, Any]

_INITIATOR = (
    "initiator_id",
    "initiator__username",
    "initiator__first_name",
    "initiator__last_name",
)
_PLAIN = (
    "provider_name", "provider_kind", "dialect", "route", "model", "streaming",
    "client", "user_agent", "session_id", "client_session_id",
    "correlating_tool_call_id", "credential_kind", "credential_hint", "outcome",
    "error_type", "error_message", "status_code", "response_id", "stop_reason",
    "turns", "tool_calls", "metadata",
)  # fmt: skip
_IDS = ("id", "token_id", "provider_id", "thread_id", "thread_parent_id")
_TIMES = ("started_at", "first_byte_at", "ended_at")
_COLUMNS = (*_IDS, *_TIMES, *_PLAIN, *COUNTS, *_INITIATOR)


@dataclass(frozen=True)
class _Part:
    """Rows of another table that belong to interceptions."""

    model: type[Model]
    order: tuple[str, ...]
    columns: tuple[str, ...]

    def rows(self, condition: Q) -> QuerySet:
        found = self.model._default_manager.filter(condition).order_by(*self.order)
        return found.values(*self.columns, "interception_id")


_PARTS = {
    "prompts": _Part(UserPrompt, ("id",), ("id", "prompt", "created_at")),
    "token_usages": _Part(
        TokenUsage,
        ("turn", "id"),
        ("id", "turn", "provider_response_id", *COUNTS, "extra", "metadata",
         "created_at"),
    ),
    "tool_usages": _Part(
        ToolUsage,
        ("turn", "id"),
        ("id", "turn", "provider_response_id", "tool_call_id", "item_id", "kind",
         "tool", "input", "server_name", "server_url", "injected",
         "invocation_error", "duration_ms", "created_at"),
    ),
    "thoughts": _Part(
        ModelThought,
        ("turn", "id"),
        ("id", "turn", "source", "content", "created_at"),
    ),
    "attempts": _Part(
        Attempt,
        ("turn", "position"),
        ("id", "turn", "position", "key_id", "key_hint", "status", "outcome",
         "retry_after", "cooldown", "upstream_request_id", "detail", "started_at",
         "headers_ms"),
    ),
}  # fmt: skip


def interception_payload(queryset: QuerySet) -> Iterator[Payload]:
    """Return every interception of a queryset, the newest first, whatever its size.

    Memory is bounded by a batch, and the connection is given back after each. A sliced
    queryset keeps its own order.
    """
    for batch in _batches(queryset):
        payloads = page_payload(batch)
        give_back()
        yield from payloads


def rows_of(queryset: QuerySet) -> QuerySet:
    """Return the queryset's columns as ``page_payload`` takes them."""
    return queryset.values(*_COLUMNS)


def page_payload(rows: Iterable[Row]) -> list[Payload]:
    """Return rows (see ``rows_of``) with all that belongs to them; five queries.

    The rows themselves become the payloads.
    """
    payloads = {row["id"]: _complete(row) for row in rows}
    theirs = is_one_of("interception_id", payloads)
    for name, part in _PARTS.items():
        for child in part.rows(theirs) if payloads else ():
            payloads[child.pop("interception_id")][name].append(child)
    return list(payloads.values())


def _batches(queryset: QuerySet) -> Iterator[list[Row]]:
    if queryset.query.is_sliced:
        found = iter(rows_of(queryset).iterator(chunk_size=BATCH))
        while batch := list(islice(found, BATCH)):
            yield batch
        return
    ordered, last = rows_of(queryset).order_by("-id"), None
    while True:
        rest = ordered if last is None else ordered.filter(id__lt=last)
        batch = list(rest[:BATCH])
        if batch:
            yield batch
        if len(batch) < BATCH:
            return
        last = batch[-1]["id"]


def _complete(row: Row) -> Payload:
    row["duration_ms"] = duration_ms(row["started_at"], row["ended_at"])
    row["initiator"] = initiator_payload(row)
    row["is_thread_root"] = row["id"] == row["thread_id"]
    row["token_usage"] = {name: row.pop(name) for name in COUNTS}
    for name in _INITIATOR:
        del row[name]
    for name in _PARTS:
        row[name] = []
    return row


def initiator_payload(row: Row) -> Payload:
    """Return who asked, from a row with the initiator's columns."""
    full = f"{row['initiator__first_name']} {row['initiator__last_name']}".strip()
    return {
        "id": row["initiator_id"],
        "username": row["initiator__username"],
        "name": full or row["initiator__username"],
    }


def duration_ms(start: datetime, end: datetime | None) -> int | None:
    """Return the milliseconds from start to end, None while there is no end."""
    if end is None:
        return None
    return max(0, round((end - start).total_seconds() * 1000))


def utc_text(moment: datetime) -> str:
    """Return a time as JSON has it, in UTC with a Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


_SESSION_COLUMNS = (
    "id", "session_id", "client", "user_agent", "provider_names", "model_names",
    "started_at", "ended_at", "last_active_at", "last_prompt", "threads",
    "interceptions", "tool_calls", "failures", *COUNTS, *_INITIATOR,
)  # fmt: skip


def session_rows(queryset: QuerySet) -> QuerySet:
    """Return the queryset's columns as ``session_payload`` takes them."""
    return queryset.values(*_SESSION_COLUMNS)


def session_payload(row: Row) -> Payload:
    """Return a session from its columns (see ``session_rows``)."""
    return {
        "id": row["id"],
        "session_id": row["session_id"],
        "initiator": initiator_payload(row),
        "client": row["client"],
        "user_agent": row["user_agent"],
        "providers": row["provider_names"],
        "models": row["model_names"],
        "started_at": row["started_at"],
        "ended_at": row["ended_at"],
        "last_active_at": row["last_active_at"],
        "last_prompt": row["last_prompt"],
        "threads": row["threads"],
        "interceptions": row["interceptions"],
        "tool_calls": row["tool_calls"],
        "failures": row["failures"],
        "token_usage_summary": {name: row[name] for name in COUNTS},
    }

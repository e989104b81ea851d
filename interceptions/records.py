"""Records: rows on their way to the database, each bound to one interception.

A row maps a table's columns to plain values. Whoever makes a record cleans it here, so
that no text of a client or an upstream can break the transaction it shares with others.
Knows the tables, not how they are written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from django.db.models import CharField, Field, Model, TextField

from interceptions.models import (
    Attempt,
    Interception,
    ModelThought,
    TokenUsage,
    ToolUsage,
    UserPrompt,
)

Row = dict[str, Any]

CHILDREN: dict[str, type[Model]] = {
    "prompts": UserPrompt,
    "attempts": Attempt,
    "token_usages": TokenUsage,
    "tool_usages": ToolUsage,
    "thoughts": ModelThought,
}
SUMS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
)
# Columns of an interception that are known when it starts, and those its end brings.
START = (
    "id",
    "initiator_id",
    "token_id",
    "provider_id",
    "provider_name",
    "provider_kind",
    "dialect",
    "route",
    "model",
    "streaming",
    "client",
    "user_agent",
    "client_session_id",
    "correlating_tool_call_id",
    "credential_kind",
    "credential_hint",
    "started_at",
    "worker",
    "metadata",
)
END = (
    "id",
    "first_byte_at",
    "ended_at",
    "cancelled",
    "error_type",
    "error_message",
    "status_code",
    "response_id",
    "stop_reason",
    "turns",
    *SUMS,
    "tool_calls",
    "credential_hint",
)
# What a session lists, and the column of its interceptions that is listed.
NAMES = {
    "provider_ids": "provider_id",
    "provider_names": "provider_name",
    "provider_kinds": "provider_kind",
    "model_names": "model",
}
LAST_PROMPT = 500
"""Characters of the prompt that a session shows; sent along with a start."""
LEAST_WEIGHT = 1000
"""About how many bytes a record is without the texts people and models wrote."""
SWEPT = "swept"
"""Key in an interception's metadata: ended by the sweeper, so a true end still wins."""


@dataclass(slots=True)
class Record:
    """Rows of one interception. ``weight`` is about their size in bytes.

    ``start`` has the columns START and ``last_prompt``; ``end`` has END and ``swept``;
    ``rows`` has whole rows for the tables of CHILDREN. ``begun`` is the stored start of
    the same interception; it goes to the journal too, since a database that fails over
    may have lost its last commits.
    """

    interception: UUID
    start: Row | None = None
    rows: dict[str, list[Row]] = field(default_factory=dict)
    end: Row | None = None
    weight: int = LEAST_WEIGHT
    begun: Record | None = None

    def to_json(self) -> bytes:
        """Return one line of JSON, without the line's end."""
        begun = self.begun or Record(self.interception)
        return dump(
            {
                "interception": self.interception,
                "start": self.start or begun.start,
                "rows": {**begun.rows, **self.rows},
                "end": self.end,
            }
        )

    @classmethod
    def from_json(cls, line: bytes) -> Record:
        """Read what ``to_json`` wrote; raises ValueError for anything else."""
        try:
            found = orjson.loads(line)
            return cls(
                UUID(found["interception"]),
                found["start"],
                found["rows"],
                found["end"],
                len(line),
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a record: {error}") from error


@dataclass(slots=True)
class Batch:
    """The rows of many records, table by table, in the order they were submitted."""

    starts: dict[UUID, Row] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    ends: dict[UUID, Row] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Batch:
        """Gather records; of two starts or ends of an interception the first counts."""
        batch = cls()
        for record in records:
            if record.start is not None:
                batch.starts.setdefault(record.interception, record.start)
            if record.end is not None:
                batch.ends.setdefault(record.interception, record.end)
            for table, rows in record.rows.items():
                batch.rows.setdefault(table, []).extend(rows)
        return batch


def dump(value: Any) -> bytes:
    """Return compact JSON; numbers may exceed 64 bits and text may be malformed."""
    try:
        return orjson.dumps(value)
    except TypeError:
        text = json.dumps(clean(value), default=str, separators=(",", ":"))
        return text.encode()


def fitted(model: type[Model], row: Row) -> Row:
    """Make the row's texts storable, in place: clean, and no longer than fits."""
    return _fit(row, _texts(model))


def fitted_start(row: Row) -> Row:
    """Like ``fitted``, for a start."""
    row["metadata"] = clean(row["metadata"])
    return _fit(row, _texts(Interception, START))


def _fit(row: Row, texts: Iterable[tuple[str, int]]) -> Row:
    for name, width in texts:
        value = row[name]
        if not value:
            continue
        if not value.isascii() or "\0" in value:
            row[name] = value = clean_text(value)
        if len(value) > width:
            row[name] = value[:width]
    return row


@cache
def columns(model: type[Model]) -> tuple[Field[Any, Any], ...]:
    """Return the fields that are stored, without those the database computes."""
    return tuple(f for f in model._meta.concrete_fields if not f.generated)


@cache
def _texts(
    model: type[Model], names: tuple[str, ...] = ()
) -> tuple[tuple[str, int], ...]:
    """Return the text columns, or those among the names, with their widths."""
    return tuple(
        (f.attname, f.max_length or sys.maxsize)
        for f in columns(model)
        if isinstance(f, (CharField, TextField)) and (not names or f.attname in names)
    )


def ended(
    interception: UUID,
    *,
    is_swept: bool = False,
    ended_at: datetime | None = None,
    **facts: Any,
) -> Row:
    """Return an interception's end; what is not given stays empty or zero."""
    row: Row = {
        "id": interception,
        "first_byte_at": None,
        "ended_at": ended_at or datetime.now(UTC),
        "cancelled": False,
        "error_type": None,
        "error_message": None,
        "status_code": None,
        "response_id": "",
        "stop_reason": "",
        "turns": 0,
        "tool_calls": 0,
        "credential_hint": None,
        SWEPT: is_swept,
        **dict.fromkeys(SUMS, 0),
    }
    row.update(facts)
    return _fit(row, _texts(Interception, END))


def clean_text(value: str) -> str:
    """Replace NUL and lone surrogates, which PostgreSQL or UTF-8 cannot hold."""
    if "\0" in value:
        value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def clean(value: Any) -> Any:
    """Return a JSON value with all its texts cleaned."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value

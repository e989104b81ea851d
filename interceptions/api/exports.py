"""Whole filtered lists as CSV or JSON lines, streamed with constant memory.

A cell of text that a spreadsheet would take for a formula gets an apostrophe in front.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Any

from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse

from interceptions.api.payloads import (
    BATCH,
    Payload,
    interception_payload,
    session_payload,
    session_rows,
    utc_text,
)
from interceptions.tokens import COUNTS
from providers.api.rendering import json_bytes
from providers.database import give_back

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Column = tuple[str, Callable[[Payload], Any]]


def _plain(*names: str) -> list[Column]:
    return [(name, lambda row, name=name: row[name]) for name in names]


def _summed(group: str) -> list[Column]:
    return [(name, lambda row, name=name: row[group][name]) for name in COUNTS]


_INITIATOR: Column = ("initiator", lambda row: row["initiator"]["username"])

INTERCEPTION_COLUMNS: list[Column] = [
    *_plain("id", "started_at", "ended_at", "duration_ms"),
    _INITIATOR,
    *_plain(
        "provider_id", "provider_name", "provider_kind", "dialect", "route", "model",
        "streaming", "client", "user_agent", "session_id", "thread_id", "outcome",
        "error_type", "error_message", "status_code", "credential_kind",
        "credential_hint", "turns", "tool_calls",
    ),
    *_summed("token_usage"),
    ("tools", lambda row: "; ".join(use["tool"] for use in row["tool_usages"])),
    (
        "tool_errors",
        lambda row: sum(bool(use["invocation_error"]) for use in row["tool_usages"]),
    ),
    ("thoughts", lambda row: len(row["thoughts"])),
    ("attempts", lambda row: len(row["attempts"])),
    ("prompt", lambda row: "\n".join(each["prompt"] for each in row["prompts"])),
]  # fmt: skip
SESSION_CSV_COLUMNS: list[Column] = [
    *_plain("id", "session_id"),
    _INITIATOR,
    *_plain("client", "user_agent"),
    ("providers", lambda row: "; ".join(row["providers"])),
    ("models", lambda row: "; ".join(row["models"])),
    *_plain(
        "started_at", "ended_at", "last_active_at", "threads", "interceptions",
        "tool_calls", "failures",
    ),
    *_summed("token_usage_summary"),
    *_plain("last_prompt"),
]  # fmt: skip


def session_payloads(queryset: QuerySet) -> Iterator[Payload]:
    """Return every session of a queryset, the last active first, in batches."""
    ordered = session_rows(queryset).order_by("-last_active_at", "-id")
    rest = ordered
    while True:
        batch = list(rest[:BATCH])
        give_back()
        yield from map(session_payload, batch)
        if len(batch) < BATCH:
            return
        moment, id = batch[-1]["last_active_at"], batch[-1]["id"]
        rest = ordered.filter(
            Q(last_active_at__lt=moment) | Q(last_active_at=moment, id__lt=id),
            last_active_at__lte=moment,
        )


def interceptions_csv(queryset: QuerySet) -> StreamingHttpResponse:
    """Return the interceptions as a CSV file."""
    rows = _csv(interception_payload(queryset), INTERCEPTION_COLUMNS)
    return _file(rows, "interceptions.csv")


def interceptions_jsonl(queryset: QuerySet) -> StreamingHttpResponse:
    """Return the interceptions as a file of one JSON object a line."""
    return _file(_jsonl(interception_payload(queryset)), "interceptions.jsonl")


def sessions_csv(queryset: QuerySet) -> StreamingHttpResponse:
    """Return the sessions as a CSV file."""
    rows = _csv(session_payloads(queryset), SESSION_CSV_COLUMNS)
    return _file(rows, "sessions.csv")


def sessions_jsonl(queryset: QuerySet) -> StreamingHttpResponse:
    """Return the sessions as a file of one JSON object a line."""
    return _file(_jsonl(session_payloads(queryset)), "sessions.jsonl")


def safe_cell(value: Any) -> Any:
    """Return what a spreadsheet shows as the value and never computes."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, str) and value.lstrip(" \u00a0").startswith(_FORMULA):
        return f"'{value}"
    return value


class _Lines:
    """A file for csv.writer that keeps what was written since it was last emptied."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        self._parts.append(text)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return "".join(parts).encode()


def _csv(payloads: Iterable[Payload], columns: list[Column]) -> Iterator[bytes]:
    lines = _Lines()
    writer = csv.writer(lines)
    writer.writerow(name for name, _ in columns)
    payloads = iter(payloads)
    while batch := list(islice(payloads, BATCH)):
        for payload in batch:
            writer.writerow(safe_cell(read(payload)) for _, read in columns)
        yield lines.take()
    yield lines.take()


def _jsonl(payloads: Iterable[Payload]) -> Iterator[bytes]:
    payloads = iter(payloads)
    while batch := list(islice(payloads, BATCH)):
        yield b"".join(json_bytes(payload) + b"\n" for payload in batch)


_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


def _file(chunks: Iterator[bytes], name: str) -> StreamingHttpResponse:
    # What fails at once is an error with a status, not a file that ends early.
    chunks = chain([next(chunks, b"")], chunks)
    response = StreamingHttpResponse(
        chunks, content_type=_TYPES[name.rpartition(".")[2]]
    )
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response

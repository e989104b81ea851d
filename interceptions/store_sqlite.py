"""Writes a batch to SQLite: many rows a statement, inside the caller's transaction.

The transaction is IMMEDIATE, so nobody writes between the look at what exists and the
writing. What PostgreSQL does in one statement is done here in a few and in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model

from interceptions.models import Interception, Session, ToolUsage
from interceptions.records import (
    CHILDREN,
    END,
    LAST_PROMPT,
    NAMES,
    START,
    SUMS,
    SWEPT,
    Batch,
    Row,
    columns,
)

_MOST_VARIABLES = 500
_COUNTS = ("threads", "interceptions", "failures", "tool_calls", *SUMS)
_INITIAL: Row = {
    "cancelled": False,
    "response_id": "",
    "stop_reason": "",
    "turns": 0,
    "tool_calls": 0,
    **dict.fromkeys(SUMS, 0),
}


def write(connection: BaseDatabaseWrapper, batch: Batch) -> set[UUID]:
    """Store the batch; return the interceptions that were ended by this."""
    changes = _insert_starts(connection, list(batch.starts.values()))
    for table, model in CHILDREN.items():
        _insert(connection, model, batch.rows.get(table, []))
    ended = _update_ends(connection, list(batch.ends.values()))
    _roll_up(connection, [*changes, *ended])
    return {change.id for change in ended}


_Thread = tuple[int, str, UUID]
"""Initiator, session and thread."""


@dataclass(slots=True)
class _Change:
    """What one interception's start or end adds to its session."""

    id: UUID
    initiator_id: int
    session_id: str
    client: str
    user_agent: str
    provider_id: str
    provider_name: str
    provider_kind: str
    model: str
    started_at: datetime
    ended_at: datetime | None = None
    last_prompt: str = ""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))


def _insert_starts(connection: BaseDatabaseWrapper, starts: list[Row]) -> list[_Change]:
    existing = _existing(connection, [row["id"] for row in starts])
    fresh = [dict(row) for row in starts if _uuid(row["id"]) not in existing]
    for row in fresh:
        row.update(_INITIAL, **_lineage(connection, row))
    new_threads = {_thread(row) for row in fresh if _is_new_thread(connection, row)}
    changes = [_start_change(row, new_threads) for row in fresh]
    names = (*START, *_INITIAL, "thread_parent_id", "thread_id", "session_id")
    _insert(connection, Interception, fresh, names)
    return changes


def _start_change(row: Row, new_threads: set[_Thread]) -> _Change:
    """Return what a start adds; its thread is taken from the new ones when it is."""
    change = _Change(
        id=_uuid(row["id"]),
        started_at=_moment(row["started_at"]),
        last_prompt=row.get("last_prompt") or "",
        **_session_facts(row),
    )
    change.counts["interceptions"] = 1
    if _thread(row) in new_threads:
        new_threads.remove(_thread(row))
        change.counts["threads"] = 1
    return change


def _thread(row: Row) -> _Thread:
    return row["initiator_id"], row["session_id"], _uuid(row["thread_id"])


def _is_new_thread(connection: BaseDatabaseWrapper, row: Row) -> bool:
    """Whether the session of a row that is not stored yet lacks its thread."""
    query = f"""
      SELECT 1 FROM {Interception._meta.db_table}
      WHERE initiator_id = %s AND session_id = %s AND thread_id = %s LIMIT 1"""
    given = [row["initiator_id"], row["session_id"], _uuid(row["thread_id"]).hex]
    return not _select(connection, query, given)


_SESSION_FACTS = (
    "initiator_id",
    "session_id",
    "client",
    "user_agent",
    *NAMES.values(),
)


def _session_facts(row: Row) -> Row:
    """Return what a session takes from an interception; ids in their usual form."""
    provider = row["provider_id"]
    facts = {name: row[name] for name in _SESSION_FACTS}
    return facts | {"provider_id": str(_uuid(provider)) if provider else ""}


def _lineage(connection: BaseDatabaseWrapper, row: Row) -> Row:
    """Return thread and session: the newest tool call of the same initiator decides."""
    own = _uuid(row["id"])
    parent = _parent(connection, row) if row["correlating_tool_call_id"] else None
    thread = parent[1] if parent else own
    return {
        "thread_parent_id": parent[0] if parent else None,
        "thread_id": thread,
        "session_id": row["client_session_id"] or str(thread),
    }


def _parent(connection: BaseDatabaseWrapper, row: Row) -> tuple[UUID, UUID] | None:
    query = f"""
      SELECT i.id, i.thread_id FROM {ToolUsage._meta.db_table} t
      JOIN {Interception._meta.db_table} i ON i.id = t.interception_id
      WHERE t.tool_call_id = %s AND NOT (t.tool_call_id = '') AND i.initiator_id = %s
      ORDER BY t.id DESC LIMIT 1"""
    given = [row["correlating_tool_call_id"], row["initiator_id"]]
    found = _select(connection, query, given)
    return (UUID(found[0][0]), UUID(found[0][1])) if found else None


def _update_ends(connection: BaseDatabaseWrapper, ends: list[Row]) -> list[_Change]:
    open_ids = _existing(connection, [row["id"] for row in ends], "ended_at IS NULL")
    rows = [row for row in ends if _uuid(row["id"]) in open_ids]
    taken = [name for name in END if name not in {"id", "credential_hint"}]
    fields = {f.attname: f for f in columns(Interception)}
    chosen = [fields[name] for name in (*taken, "credential_hint")]
    statement = f"""
      UPDATE {Interception._meta.db_table} SET
        {", ".join(f"{name} = %s" for name in taken)},
        credential_hint = COALESCE(%s, credential_hint),
        metadata = CASE WHEN %s THEN json_set(metadata, '$.{SWEPT}', json('true'))
          ELSE metadata END
      WHERE id = %s"""
    values = [
        (*_prepared(connection, chosen, row), bool(row[SWEPT]), _uuid(row["id"]).hex)
        for row in rows
    ]
    _execute_many(connection, statement, values)
    return _end_changes(connection, [row["id"] for row in rows])


def _end_changes(connection: BaseDatabaseWrapper, ids: list[Any]) -> list[_Change]:
    names = (
        *_SESSION_FACTS,
        "started_at",
        "ended_at",
        "error_type",
        "tool_calls",
        *SUMS,
    )
    query = f"SELECT id, {', '.join(names)} FROM {Interception._meta.db_table} WHERE id"
    changes = []
    for values in _select_by_id(connection, query, ids):
        row = dict(zip(names, values[1:], strict=True))
        change = _Change(
            id=UUID(values[0]),
            started_at=_moment(row["started_at"]),
            ended_at=_moment(row["ended_at"]),
            **_session_facts(row),
        )
        change.counts["failures"] = int(row["error_type"] is not None)
        change.counts.update({name: row[name] for name in ("tool_calls", *SUMS)})
        changes.append(change)
    return changes


def _roll_up(connection: BaseDatabaseWrapper, changes: list[_Change]) -> None:
    """Add the changes to their sessions' roll-ups."""
    sessions: dict[tuple[int, str], Session] = {}
    for change in sorted(changes, key=lambda change: change.id):
        key = (change.initiator_id, change.session_id)
        if key not in sessions:
            sessions[key] = _session(connection, change)
        _add(sessions[key], change)
    for session in sessions.values():
        session.save(using=connection.alias)


def _session(connection: BaseDatabaseWrapper, change: _Change) -> Session:
    key = {"initiator_id": change.initiator_id, "session_id": change.session_id}
    found = Session.objects.using(connection.alias).filter(**key).first()
    return found or Session(
        id=change.id,
        client=change.client,
        user_agent=change.user_agent,
        started_at=change.started_at,
        last_active_at=change.started_at,
        **key,
    )


def _add(session: Session, change: _Change) -> None:
    for name, count in change.counts.items():
        setattr(session, name, getattr(session, name) + count)
    if session.client == "Unknown":
        session.client = change.client
    for names, column in NAMES.items():
        seen = _with(getattr(session, names), getattr(change, column))
        setattr(session, names, seen)
    session.started_at = min(session.started_at, change.started_at)
    active_at = change.ended_at or change.started_at
    session.last_active_at = max(session.last_active_at, active_at)
    if change.ended_at:
        session.ended_at = max(session.ended_at or change.ended_at, change.ended_at)
    session.last_prompt = (change.last_prompt or session.last_prompt)[:LAST_PROMPT]


def _with(names: list[str], name: str) -> list[str]:
    return sorted({*names, name}) if name else names


def _insert(
    connection: BaseDatabaseWrapper,
    model: type[Model],
    rows: list[Row],
    names: Sequence[str] = (),
) -> None:
    """Insert rows that do not exist yet; all columns, or those named."""
    fields = [f for f in columns(model) if not names or f.attname in names]
    marks = ", ".join(["%s"] * len(fields))
    statement = (
        f"INSERT INTO {model._meta.db_table} "
        f"({', '.join(f.attname for f in fields)}) VALUES ({marks}) "
        f"ON CONFLICT (id) DO NOTHING"
    )
    values = [_prepared(connection, fields, row) for row in rows]
    _execute_many(connection, statement, values)


def _prepared(
    connection: BaseDatabaseWrapper, fields: Iterable[Field], row: Row
) -> tuple[Any, ...]:
    return tuple(
        field.get_db_prep_save(row[field.attname], connection) for field in fields
    )


def _existing(
    connection: BaseDatabaseWrapper, ids: list[Any], condition: str = "TRUE"
) -> set[UUID]:
    query = f"SELECT id FROM {Interception._meta.db_table} WHERE {condition} AND id"
    return {UUID(row[0]) for row in _select_by_id(connection, query, ids)}


def _select_by_id(
    connection: BaseDatabaseWrapper, query: str, ids: list[Any]
) -> list[tuple[Any, ...]]:
    found = []
    for start in range(0, len(ids), _MOST_VARIABLES):
        part = [_uuid(given).hex for given in ids[start : start + _MOST_VARIABLES]]
        marks = ", ".join(["%s"] * len(part))
        found += _select(connection, f"{query} IN ({marks})", part)
    return found


def _select(
    connection: BaseDatabaseWrapper, query: str, given: Sequence[Any]
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, given)
        return cursor.fetchall()


def _execute_many(
    connection: BaseDatabaseWrapper, statement: str, values: list[tuple[Any, ...]]
) -> None:
    if values:
        with connection.cursor() as cursor:
            cursor.executemany(statement, values)


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _moment(value: datetime | str) -> datetime:
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)

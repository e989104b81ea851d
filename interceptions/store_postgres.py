"""Writes a batch to PostgreSQL: one statement, one JSON parameter for each table.

1. PostgreSQL expands the parameters (``jsonb_to_recordset``); a statement is a
   transaction of its own, so a batch costs one round trip.
2. The text depends only on which tables have rows, so that few texts exist and each is
   planned once (prepared statements).
3. Parts of one statement do not see each other's rows. A batch that starts and ends the
   same interception is therefore written by two.
4. Locks are taken in one order everywhere: interceptions first, then sessions sorted.
5. Plans are made for many batches, while tables are small or statistics old. So rows
   are looked up where a join might scan (``LATERAL ... LIMIT``), what would tempt the
   planner to a poor index (all open rows, the order of ids) is written so that none can
   serve it, and conditions that always hold (``>= 0``) tell it that few rows come.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import count
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field
from psycopg import RawCursor

from interceptions.models import Interception, Session
from interceptions.records import (
    CHILDREN,
    END,
    LAST_PROMPT,
    NAMES,
    START,
    SUMS,
    SWEPT,
    Batch,
    columns,
    dump,
)

_INTERCEPTIONS = Interception._meta.db_table
_SESSIONS = Session._meta.db_table
_TOOLS = CHILDREN["tool_usages"]._meta.db_table
_LINEAGE = ("thread_parent_id", "thread_id", "session_id")


def write(connection: BaseDatabaseWrapper, batch: Batch) -> set[UUID]:
    """Store the batch; return the interceptions that were ended by this."""
    if batch.starts.keys() & batch.ends.keys():
        _execute(connection, Batch(starts=batch.starts))
        batch = Batch(rows=batch.rows, ends=batch.ends)
    return _execute(connection, batch)


def _execute(connection: BaseDatabaseWrapper, batch: Batch) -> set[UUID]:
    tables = tuple(table for table in CHILDREN if batch.rows.get(table))
    parameters = [dump(batch.rows[table]).decode() for table in tables]
    if batch.starts:
        parameters.insert(0, dump(list(batch.starts.values())).decode())
    if batch.ends:
        parameters.append(dump(list(batch.ends.values())).decode())
    if not parameters:
        return set()
    statement = _statement(bool(batch.starts), tables, bool(batch.ends))
    connection.ensure_connection()
    with (
        connection.wrap_database_errors,
        RawCursor(connection.connection) as cursor,
    ):
        cursor.execute(statement, parameters)
        return {row[0] for row in cursor.fetchall()}


@cache
def _statement(starts: bool, tables: tuple[str, ...], ends: bool) -> str:
    """Return the text for a batch that has rows of these tables."""
    parts = [_starts_part()] if starts else []
    parts += [_child_part(table) for table in tables]
    changes = [_STARTED] if starts else []
    if ends:
        parts.append(_ends_part())
        changes.append(_ENDED)
    if changes:
        parts.append(_sessions_part(changes))
    result = "SELECT id FROM ended" if ends else "SELECT NULL::uuid LIMIT 0"
    numbers = count(1)
    text = re.sub(
        "%s", lambda _: f"${next(numbers)}", f"WITH {', '.join(parts)} {result}"
    )
    return " ".join(text.split())


def _definition(fields: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in fields)


def _types(names: Iterable[str]) -> list[tuple[str, str]]:
    fields = {field.attname: field for field in columns(Interception)}
    return [(name, _type(fields[name])) for name in names]


def _type(field: Field) -> str:
    from django.db import connection

    return field.db_type(connection) or "text"


def _starts_part() -> str:
    definition = _definition([*_types(START), ("last_prompt", "text")])
    constants = {
        "cancelled": "FALSE",
        "response_id": "''",
        "stop_reason": "''",
        "turns": "0",
        "tool_calls": "0",
        **dict.fromkeys(SUMS, "0"),
    }
    names = ", ".join((*START, *_LINEAGE))
    return f"""
starts AS MATERIALIZED (
  SELECT r.*, parent.id AS thread_parent_id,
    COALESCE(parent.thread_id, r.id) AS thread_id,
    COALESCE(r.client_session_id, parent.thread_id::text, r.id::text) AS session_id,
    parent.session_id AS parent_session_id
  FROM jsonb_to_recordset(%s::jsonb) AS r({definition})
  LEFT JOIN LATERAL (
    SELECT t.interception_id FROM {_TOOLS} t
    WHERE t.tool_call_id = r.correlating_tool_call_id AND NOT (t.tool_call_id = '')
      AND r.initiator_id = (
        SELECT i.initiator_id FROM {_INTERCEPTIONS} i WHERE i.id = t.interception_id)
    ORDER BY t.id::text DESC LIMIT 1
  ) call ON TRUE
  LEFT JOIN LATERAL (
    SELECT i.id, i.thread_id, i.session_id FROM {_INTERCEPTIONS} i
    WHERE i.id = call.interception_id LIMIT 1
  ) parent ON TRUE
),
started AS (
  INSERT INTO {_INTERCEPTIONS} ({names}, {", ".join(constants)})
  SELECT {names}, {", ".join(constants.values())} FROM starts
  ON CONFLICT (id) DO NOTHING RETURNING id
)"""


def _child_part(table: str) -> str:
    model = CHILDREN[table]
    fields = [(field.attname, _type(field)) for field in columns(model)]
    names = ", ".join(name for name, _ in fields)
    return f"""
{table} AS (
  INSERT INTO {model._meta.db_table} ({names})
  SELECT {names} FROM jsonb_to_recordset(%s::jsonb) AS r({_definition(fields)})
  ON CONFLICT (id) DO NOTHING
)"""


def _ends_part() -> str:
    definition = _definition([*_types(END), (SWEPT, "boolean")])
    taken = [name for name in END if name not in {"id", "credential_hint"}]
    assignments = ", ".join(f"{name} = r.{name}" for name in taken)
    return f"""
ended AS (
  UPDATE {_INTERCEPTIONS} i SET {assignments},
    credential_hint = COALESCE(r.credential_hint, i.credential_hint),
    metadata = CASE WHEN r.{SWEPT} THEN i.metadata || '{{"{SWEPT}": true}}'
      ELSE i.metadata END
  FROM jsonb_to_recordset(%s::jsonb) AS r({definition})
  WHERE i.id = r.id
    AND COALESCE(i.ended_at, '-infinity') = '-infinity'
    AND {" AND ".join(f"r.{name} >= 0" for name in ("turns", "tool_calls", *SUMS))}
  RETURNING i.*
)"""


_FACTS = """id, initiator_id, session_id, client, user_agent,
    provider_id::text AS provider_id, provider_name, provider_kind, model"""
_ADDED = ("interceptions", "failures", "tool_calls", *SUMS)
_STARTED = f"""
  SELECT {_FACTS},
    started_at, NULL::timestamptz AS ended_at, last_prompt,
    CASE WHEN thread_id = id THEN id WHEN parent_session_id = session_id THEN NULL
      WHEN NOT EXISTS (
        SELECT 1 FROM {_INTERCEPTIONS} other
        WHERE other.initiator_id = starts.initiator_id
          AND other.session_id = starts.session_id
          AND other.thread_id = starts.thread_id) THEN thread_id
      END AS new_thread,
    1 AS interceptions, 0 AS failures, 0 AS tool_calls,
    {", ".join(f"0::bigint AS {name}" for name in SUMS)}
  FROM starts WHERE (id IN (SELECT id FROM started)) IS TRUE"""
_ENDED = f"""
  SELECT {_FACTS},
    started_at, ended_at, '' AS last_prompt, NULL::uuid AS new_thread,
    0 AS interceptions, (error_type IS NOT NULL)::int AS failures,
    tool_calls, {", ".join(SUMS)}
  FROM ended"""


def _sessions_part(changes: list[str]) -> str:
    counts = ", ".join(("threads", *_ADDED))
    sums = ", ".join(f"sum({name})" for name in _ADDED)
    added = ", ".join(
        f"{name} = s.{name} + EXCLUDED.{name}" for name in ("threads", *_ADDED)
    )
    return f"""
changes AS ({" UNION ALL ".join(changes)}),
rolled_up AS (
  INSERT INTO {_SESSIONS} AS s (id, initiator_id, session_id, client, user_agent,
    {", ".join(NAMES)}, started_at, ended_at, last_active_at, last_prompt,
    {counts})
  SELECT (array_agg(id ORDER BY id))[1], initiator_id, session_id,
    (array_agg(client ORDER BY id))[1], (array_agg(user_agent ORDER BY id))[1],
    {", ".join(map(_names, NAMES.values()))},
    min(started_at), max(ended_at), max(COALESCE(ended_at, started_at)),
    COALESCE((array_agg(last_prompt ORDER BY id DESC)
      FILTER (WHERE last_prompt <> ''))[1], ''),
    count(DISTINCT new_thread), {sums}
  FROM changes GROUP BY initiator_id, session_id ORDER BY initiator_id, session_id
  ON CONFLICT (initiator_id, session_id) DO UPDATE SET
    client = CASE WHEN s.client = 'Unknown' THEN EXCLUDED.client ELSE s.client END,
    {", ".join(map(_union, NAMES))},
    started_at = LEAST(s.started_at, EXCLUDED.started_at),
    ended_at = GREATEST(s.ended_at, EXCLUDED.ended_at),
    last_active_at = GREATEST(s.last_active_at, EXCLUDED.last_active_at),
    last_prompt = left(
      COALESCE(NULLIF(EXCLUDED.last_prompt, ''), s.last_prompt), {LAST_PROMPT}),
    {added}
)"""


def _names(column: str) -> str:
    return f"COALESCE(jsonb_agg(DISTINCT {column}) FILTER (WHERE {column} <> ''), '[]')"


def _union(column: str) -> str:
    """Return the assignment that adds new names to a sorted list of names."""
    return f"""{column} = CASE WHEN s.{column} @> EXCLUDED.{column} THEN s.{column}
      ELSE (SELECT jsonb_agg(DISTINCT name ORDER BY name)
        FROM jsonb_array_elements(s.{column} || EXCLUDED.{column}) name) END"""

"""Database triggers that announce changed rows: a NOTIFY, or a counter on SQLite.

A trigger announces a row only when a watched column really changed, so that "last used"
and the like stay silent. Used by migrations only.

On SQLite a table that Django rebuilds loses its triggers, and a dropped column breaks
them: a migration that alters a watched table puts ``unwatch`` before its operations and
``watch`` after them. PostgreSQL needs neither, as its function compares whole rows.
"""

from __future__ import annotations

from typing import Any

from django.db.migrations import RunPython
from django.db.migrations.operations.base import Operation

CHANNEL = "aibridge"

_FUNCTION = f"""
CREATE OR REPLACE FUNCTION aibridge_announce() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    silent text[] := string_to_array(TG_ARGV[1], ',');
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(OLD) - silent = to_jsonb(NEW) - silent THEN
        RETURN NULL;
    END IF;
    PERFORM pg_notify('{CHANNEL}', TG_ARGV[0]);
    RETURN NULL;
END $$
"""

_SQLITE_BODY = """
BEGIN
    INSERT INTO providers_revision (topic, value) VALUES ('{topic}', {start})
    ON CONFLICT (topic) DO UPDATE SET value = value + 1;
END
"""
# A counter that was emptied starts anew above all it ever was.
_SQLITE_START = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


def watch(model: str, topic: str, *, silent: tuple[str, ...] = ()) -> Operation:
    """Return the operation that announces a model's changes as ``topic``.

    ``model`` is ``app_label.ModelName``; changes of the ``silent`` columns alone are
    not announced.
    """
    return RunPython(
        lambda apps, editor: _create(apps.get_model(model), topic, silent, editor),
        lambda apps, editor: _drop(apps.get_model(model), editor),
        elidable=False,
    )


def unwatch(model: str, topic: str, *, silent: tuple[str, ...] = ()) -> Operation:
    """Return the operation that undoes ``watch`` (same arguments)."""
    return RunPython(
        lambda apps, editor: _drop(apps.get_model(model), editor),
        lambda apps, editor: _create(apps.get_model(model), topic, silent, editor),
        elidable=False,
    )


def trigger_names(table: str) -> tuple[str, ...]:
    """Return the names of the triggers that ``watch`` puts on a table."""
    return tuple(
        f"aibridge_{table}_{event}" for event in ("insert", "update", "delete")
    )


def _create(model: Any, topic: str, silent: tuple[str, ...], editor: Any) -> None:
    _drop(model, editor)
    table = model._meta.db_table
    if editor.connection.vendor == "postgresql":
        editor.execute(_FUNCTION)
    for name, event in zip(
        trigger_names(table), ("INSERT", "UPDATE", "DELETE"), strict=True
    ):
        editor.execute(_statement(editor, model, name, event, topic, silent))


def _drop(model: Any, editor: Any) -> None:
    table = model._meta.db_table
    for name in trigger_names(table):
        on = f" ON {table}" if editor.connection.vendor == "postgresql" else ""
        editor.execute(f"DROP TRIGGER IF EXISTS {name}{on}")


def _statement(
    editor: Any, model: Any, name: str, event: str, topic: str, silent: tuple[str, ...]
) -> str:
    table = model._meta.db_table
    if editor.connection.vendor == "postgresql":
        return (
            f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW "
            f"EXECUTE FUNCTION aibridge_announce('{topic}', '{','.join(silent)}')"
        )
    when = _sqlite_condition(model, silent) if event == "UPDATE" else ""
    body = _SQLITE_BODY.format(topic=topic, start=_SQLITE_START)
    return f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {when} {body}"


def _sqlite_condition(model: Any, silent: tuple[str, ...]) -> str:
    columns = [field.column for field in model._meta.local_concrete_fields]
    watched = [column for column in columns if column not in silent]
    return "WHEN " + " OR ".join(
        f'OLD."{name}" IS NOT NEW."{name}"' for name in watched
    )

"""Indexes that lists and filters read."""

from django.db import migrations, models

from interceptions.moments import MISPLACED

_POSTGRESQL = {
    "interception_misplaced": (
        "CREATE INDEX interception_misplaced ON interceptions_interception (started_at)"
        f" WHERE {MISPLACED}"
    ),
    "session_names": (
        "CREATE INDEX session_names ON interceptions_session USING gin ("
        "provider_names jsonb_path_ops, model_names jsonb_path_ops)"
        # A small pending list keeps the one update that empties it short.
        " WITH (fastupdate = on, gin_pending_list_limit = 512)"
    ),
}


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for statement in _POSTGRESQL.values():
            schema_editor.execute(statement, params=None)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for name in _POSTGRESQL:
            schema_editor.execute(f"DROP INDEX IF EXISTS {name}", params=None)


class Migration(migrations.Migration):
    dependencies = [("interceptions", "0002_roles")]

    operations = [
        migrations.RemoveIndex("interception", "interception_session"),
        migrations.AddIndex(
            "interception",
            models.Index(
                "session_id",
                "initiator",
                "thread_id",
                "id",
                name="interception_session",
            ),
        ),
        migrations.RunPython(create, drop),
    ]

"""Fill in the providers of sessions from before they were listed; index them."""

from collections import defaultdict

from django.db import migrations, transaction

_BATCH = 500
_NEW = {"provider_ids": "provider_id", "provider_kinds": "provider_kind"}
_OLD_INDEX = ("provider_names", "model_names")
_NEW_INDEX = ("provider_ids", "provider_names", "provider_kinds", "model_names")


def fill(apps, schema_editor):
    """May be stopped and run again: each batch is a transaction of its own."""
    sessions = apps.get_model("interceptions", "Session")._base_manager
    interceptions = apps.get_model("interceptions", "Interception")._base_manager
    last = None
    while True:
        rest = sessions.order_by("pk")
        rest = rest if last is None else rest.filter(pk__gt=last)
        with transaction.atomic():
            # Whoever records waits, so that nothing added meanwhile is lost.
            batch = list(rest.select_for_update()[:_BATCH])
            _fill_batch(sessions, interceptions, batch)
        if len(batch) < _BATCH:
            return
        last = batch[-1].pk


def _fill_batch(sessions, interceptions, batch):
    rows = interceptions.filter(session_id__in={each.session_id for each in batch})
    facts = rows.values_list("initiator_id", "session_id", *_NEW.values()).distinct()
    seen = defaultdict(list)
    for initiator, session_id, *values in facts:
        seen[initiator, session_id].append(values)
    for session in batch:
        found = seen[session.initiator_id, session.session_id]
        for index, name in enumerate(_NEW):
            values = sorted({str(each[index]) for each in found if each[index]})
            setattr(session, name, values)
    sessions.bulk_update(batch, list(_NEW), batch_size=100)


def _index(columns):
    classes = ", ".join(f"{name} jsonb_path_ops" for name in columns)

    def create(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute("DROP INDEX IF EXISTS session_names", params=None)
            schema_editor.execute(
                "CREATE INDEX session_names ON interceptions_session"
                f" USING gin ({classes})"
                # A small pending list keeps the one update that empties it short.
                " WITH (fastupdate = on, gin_pending_list_limit = 512)",
                params=None,
            )

    return create


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("interceptions", "0008_providers_of_sessions")]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(_index(_NEW_INDEX), _index(_OLD_INDEX)),
    ]

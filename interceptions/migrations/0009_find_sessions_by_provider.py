"""Fill in the providers of sessions from before they were listed; index them."""

from collections import defaultdict

from django.db import migrations, transaction

_BATCH = 500
_KEY = ("initiator_id", "session_id")
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
    facts = rows.values_list(*_KEY, "provider_id", "provider_kind").distinct()
    ids, kinds = defaultdict(set), defaultdict(set)
    for initiator, session_id, provider, kind in facts:
        kinds[initiator, session_id].add(kind)
        if provider is not None:
            ids[initiator, session_id].add(str(provider))
    # Most sessions are alike, so that a few updates serve them all.
    alike = defaultdict(list)
    for session in batch:
        key = session.initiator_id, session.session_id
        alike[tuple(sorted(ids[key])), tuple(sorted(kinds[key]))].append(session.pk)
    for (of_ids, of_kinds), chosen in alike.items():
        sessions.filter(pk__in=chosen).update(
            provider_ids=list(of_ids), provider_kinds=list(of_kinds)
        )


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

"""Attributes interceptions from before the provider column; nothing on a new database."""

from django.db import migrations

from interceptions import backfill


def attribute(apps, schema_editor):
    interception = apps.get_model("interceptions", "Interception")
    provider = apps.get_model("providers", "AiProvider")
    backfill.attribute(interception._base_manager, provider._base_manager)


class Migration(migrations.Migration):
    # Each batch is a transaction of its own, so that it may be stopped half-way.
    atomic = False

    dependencies = [
        ("interceptions", "0003_reading_indexes"),
        ("providers", "0001_initial"),
    ]

    operations = [migrations.RunPython(attribute, migrations.RunPython.noop)]

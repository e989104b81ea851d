"""Let the database announce changed providers and keys to every process."""

from django.db import migrations

from providers.triggers import watch


class Migration(migrations.Migration):
    dependencies = [("providers", "0001_initial")]

    operations = [
        watch("providers.AiProvider", "providers", silent=("updated_at",)),
        watch(
            "providers.ApiKey",
            "keys",
            silent=(
                "label",
                "last_used_at",
                "last_status",
                "last_error",
                "last_error_at",
                "probed_at",
                "updated_at",
            ),
        ),
    ]

"""Let sessions list the ids and kinds of their providers."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("interceptions", "0007_words_of_prompts")]

    operations = [
        migrations.AddField(
            "session",
            "provider_ids",
            # Nodes of the version before know nothing of this column.
            models.JSONField(
                default=list, db_default=[], help_text="Ids seen, sorted."
            ),
        ),
        migrations.AddField(
            "session",
            "provider_kinds",
            # Nodes of the version before know nothing of this column.
            models.JSONField(
                default=list, db_default=[], help_text="Kinds seen, sorted."
            ),
        ),
    ]

"""Hold in the index of sessions what their list is filtered by."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("interceptions", "0009_find_sessions_by_provider")]

    operations = [
        migrations.RemoveIndex("session", "session_active"),
        migrations.AddIndex(
            "session",
            models.Index(
                fields=["-last_active_at", "-id"],
                include=["started_at", "client", "failures"],
                name="session_active",
            ),
        ),
        migrations.AddIndex(
            "session",
            models.Index(
                fields=["client", "-last_active_at", "-id"], name="session_client"
            ),
        ),
    ]

"""Order a session's interceptions by time in their index."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("interceptions", "0005_one_index_each")]

    operations = [
        migrations.RemoveIndex("interception", "interception_session"),
        migrations.AddIndex(
            "interception",
            models.Index(
                "session_id",
                "id",
                "initiator",
                "thread_id",
                name="interception_session",
            ),
        ),
    ]

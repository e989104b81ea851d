"""Find what went wrong for one user without reading all that went wrong."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("interceptions", "0010_find_sessions_in_their_index")]

    operations = [
        migrations.AddIndex(
            "interception",
            models.Index(
                "initiator",
                "outcome",
                "id",
                name="interception_trouble",
                condition=models.Q(outcome__in=["failed", "cancelled"]),
            ),
        ),
    ]

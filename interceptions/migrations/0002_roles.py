"""Make the groups Administrators and Auditors."""

from django.db import migrations

from interceptions.roles import make_roles


class Migration(migrations.Migration):
    dependencies = [
        ("interceptions", "0001_initial"),
        ("providers", "0001_initial"),
        ("proxy", "0003_mcp_servers"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        # Groups stay when this is undone: people may be in them.
        migrations.RunPython(make_roles, migrations.RunPython.noop),
    ]

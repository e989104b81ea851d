"""Let the database announce changed tokens and users to every process."""

from django.conf import settings
from django.db import migrations

from providers.triggers import watch


class Migration(migrations.Migration):
    dependencies = [
        ("proxy", "0001_initial"),
        ("providers", "0002_announce_changes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        watch("proxy.GatewayToken", "tokens", silent=("last_used_at",)),
        watch(settings.AUTH_USER_MODEL, "users", silent=("last_login",)),
    ]

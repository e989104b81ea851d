"""Keep MCP servers, and announce their changes."""

import django.core.validators
from django.db import migrations, models

import providers.encryption
import providers.ids
import providers.validators
import proxy.models
from providers.triggers import watch


class Migration(migrations.Migration):
    dependencies = [
        ("proxy", "0002_announce_changes"),
    ]

    operations = [
        migrations.CreateModel(
            name="McpServer",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=providers.ids.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="Part of the tools' names: models see bmcp_<name>_<tool>.",
                        max_length=40,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-zA-Z0-9_-]+$", "Use letters, digits, - and _."
                            )
                        ],
                    ),
                ),
                (
                    "url",
                    models.CharField(
                        help_text="The server's endpoint, for example https://example.com/mcp.",
                        max_length=500,
                        validators=[providers.validators.validate_http_url],
                    ),
                ),
                (
                    "headers",
                    providers.encryption.EncryptedTextField(
                        blank=True,
                        editable=False,
                        help_text="Encrypted JSON: headers sent with every request, for example Authorization.",
                    ),
                ),
                (
                    "allow_pattern",
                    models.CharField(
                        blank=True,
                        help_text="Regular expression searched in a tool's name; empty allows all.",
                        max_length=500,
                        validators=[proxy.models.validate_pattern],
                    ),
                ),
                (
                    "deny_pattern",
                    models.CharField(
                        blank=True,
                        help_text="Regular expression of tools that are never offered; it wins.",
                        max_length=500,
                        validators=[proxy.models.validate_pattern],
                    ),
                ),
                (
                    "timeout",
                    models.FloatField(
                        default=60,
                        help_text="Seconds for one call.",
                        validators=[
                            django.core.validators.MinValueValidator(0.1),
                            django.core.validators.MaxValueValidator(3600),
                        ],
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "verbose_name": "MCP server",
                "ordering": ("name",),
            },
        ),
        watch("proxy.McpServer", "mcp"),
    ]

"""Gateway tokens, which let clients in, and the MCP servers whose tools models get."""

from __future__ import annotations

import re

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from providers.encryption import EncryptedTextField
from providers.ids import new_id
from providers.validators import validate_http_url


def validate_pattern(pattern: str) -> None:
    """Raise ValidationError unless the text is a regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValidationError(f"Not a regular expression: {error}") from error


class GatewayToken(models.Model):
    """``aib_<prefix>_<secret>``; only a SHA-256 of the whole token is stored."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="gateway_tokens"
    )
    name = models.CharField(
        max_length=100, help_text="What it is for, for example the machine."
    )
    prefix = models.CharField(
        max_length=12,
        unique=True,
        editable=False,
        help_text="The public part of the token; names it without revealing it.",
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Leave empty for a token without an end."
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.name} (aib_{self.prefix}_…)"


class McpServer(models.Model):
    """An MCP server (streamable HTTP) whose tools the gateway offers to models."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(
        max_length=40,
        unique=True,
        validators=[
            RegexValidator(r"^[a-zA-Z0-9_-]+$", "Use letters, digits, - and _.")
        ],
        help_text="Part of the tools' names: models see bmcp_<name>_<tool>.",
    )
    url = models.CharField(
        max_length=500,
        validators=[validate_http_url],
        help_text="The server's endpoint, for example https://example.com/mcp.",
    )
    headers = EncryptedTextField(
        blank=True,
        editable=False,
        help_text="Encrypted JSON: headers sent with every request, for example "
        "Authorization.",
    )
    allow_pattern = models.CharField(
        max_length=500,
        blank=True,
        validators=[validate_pattern],
        help_text="Regular expression searched in a tool's name; empty allows all.",
    )
    deny_pattern = models.CharField(
        max_length=500,
        blank=True,
        validators=[validate_pattern],
        help_text="Regular expression of tools that are never offered; it wins.",
    )
    timeout = models.FloatField(
        default=60,
        validators=[MinValueValidator(0.1), MaxValueValidator(3600)],
        help_text="Seconds for one call.",
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "MCP server"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

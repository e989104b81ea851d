"""Gateway tokens: what a client shows to be let in."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from providers.ids import new_id


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

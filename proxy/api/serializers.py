"""Gateway tokens as the API shows and takes them; a token's text is shown once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone
from rest_framework import serializers

from providers.api.fields import StrictCharField, StrictSerializer
from proxy.models import GatewayToken

STATES = ("active", "expired", "revoked", "inactive")


class OwnerSerializer(serializers.Serializer):
    """Whom a token stands for."""

    id = serializers.IntegerField(help_text="The user's id.")
    username = serializers.CharField(help_text="The user's name.")


class TokenSerializer(serializers.Serializer):
    """A gateway token, without its text."""

    id = serializers.UUIDField(help_text="Id of the token.")
    name = serializers.CharField(help_text="What it is for.")
    prefix = serializers.CharField(help_text="Its public part: aib_<prefix>_….")
    owner = OwnerSerializer(help_text="Whom it stands for.")
    state = serializers.ChoiceField(
        STATES, help_text="Whether it lets in; inactive: its owner may not."
    )
    created_at = serializers.DateTimeField(help_text="When it was made.")
    expires_at = serializers.DateTimeField(
        allow_null=True, help_text="When it ends, null for never."
    )
    revoked_at = serializers.DateTimeField(
        allow_null=True, help_text="When it was revoked."
    )
    last_used_at = serializers.DateTimeField(
        allow_null=True, help_text="When it was last shown."
    )


class NewTokenSerializer(TokenSerializer):
    """A token that was just made, with its text."""

    token = serializers.CharField(help_text="The token; it is never shown again.")


class MomentField(serializers.DateTimeField):
    """A moment in the future, with its zone."""

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str):
            self.fail("invalid", format="RFC 3339")
        try:
            moment = super().to_internal_value(value)
        except OverflowError:
            self.fail("overflow")
        if moment <= timezone.now():
            raise serializers.ValidationError("must be in the future")
        return moment


class _TokenFactsSerializer(StrictSerializer):
    name = StrictCharField(
        max_length=100, help_text="What it is for, for example the machine."
    )
    expires_at = MomentField(
        required=False, allow_null=True, help_text="When it ends; null for never."
    )


class TokenPatchSerializer(_TokenFactsSerializer):
    """Changes of a token; what is left out stays."""

    name = StrictCharField(max_length=100, required=False, help_text="What it is for.")


class TokenCreateSerializer(_TokenFactsSerializer):
    """A new token."""

    owner = StrictCharField(
        max_length=150,
        required=False,
        help_text="Username; only administrators may name somebody else.",
    )

    def validate_owner(self, value: str) -> Any:
        """Return the user of that name."""
        user = get_user_model().objects.filter(username=value).first()
        viewer = self.context["viewer"]
        if user is None or (user != viewer and not self.context["is_administrator"]):
            raise serializers.ValidationError("is not a user you may make a token for")
        if not user.is_active:
            raise serializers.ValidationError("is not active")
        return user


def token_payload(token: GatewayToken, now: datetime) -> dict[str, Any]:
    """Return a token as JSON."""
    return {
        "id": token.pk,
        "name": token.name,
        "prefix": token.prefix,
        "owner": {"id": token.owner_id, "username": token.owner.get_username()},
        "state": token_state(token, now),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "last_used_at": token.last_used_at,
    }


def token_state(token: GatewayToken, now: datetime) -> str:
    """Return one of ``STATES``."""
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is not None and token.expires_at <= now:
        return "expired"
    return "active" if token.owner.is_active else "inactive"

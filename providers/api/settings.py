"""The ``settings`` of a provider: what only its kind needs; today Bedrock's.

Secrets among them can be written and are kept when a change leaves them out.
"""

from __future__ import annotations

import json
from typing import Any

from rest_framework import serializers

from providers import bedrock
from providers.api.fields import SecretField, StrictCharField, StrictSerializer
from providers.encryption import UndecryptableSecret
from providers.kinds import Kind
from providers.models import AiProvider

OPTIONS = ("region", "model", "small_fast_model")
SECRETS = ("access_key", "access_key_secret", "session_token")
_UNSUPPORTED = "is not supported by this gateway"


class BedrockSettingsSerializer(StrictSerializer):
    """How to reach Amazon Bedrock."""

    refusals = {
        "external_id": "must not be sent by clients",
        "role_arn": _UNSUPPORTED,
    }

    _type = serializers.ChoiceField(
        ["bedrock"], required=False, help_text="Names the shape."
    )
    _version = serializers.ChoiceField(
        [1], required=False, help_text="Version of the shape."
    )
    protocol = serializers.ChoiceField(
        ["invoke-model"], required=False, help_text="How Bedrock is called."
    )
    region = StrictCharField(
        max_length=64, required=False, help_text="AWS region, for example eu-central-1."
    )
    model = StrictCharField(
        max_length=200, required=False, help_text="Model or profile that answers."
    )
    small_fast_model = StrictCharField(
        max_length=200,
        required=False,
        help_text="Answers when a client asks for a Haiku model.",
    )
    access_key = SecretField(required=False, help_text="AWS access key id.")
    access_key_secret = SecretField(required=False, help_text="AWS secret key.")
    session_token = SecretField(required=False, help_text="AWS session token.")


def stored_settings(provider: AiProvider) -> dict[str, Any] | None:
    """Return a provider's settings without secrets, None for kinds without any."""
    if provider.kind != Kind.BEDROCK:
        return None
    options = provider.options if isinstance(provider.options, dict) else {}
    kept = {name: options[name] for name in OPTIONS if options.get(name)}
    return {"_type": "bedrock", "_version": 1, "protocol": "invoke-model"} | kept


def apply_settings(provider: AiProvider, given: dict[str, Any] | None) -> None:
    """Put settings on a provider; raises ValidationError for what cannot be used.

    Secrets that are left out stay as they are.
    """
    if provider.kind != Kind.BEDROCK:
        if given:
            raise _invalid(f"a provider of kind {provider.kind} has no settings")
        return
    given = given or {}
    secrets = _stored_secrets(provider) | _chosen(given, SECRETS)
    provider.options = _chosen(given, OPTIONS)
    try:
        bedrock.validate(
            bedrock.BedrockSettings.read(provider.base_url, provider.options, secrets)
        )
    except bedrock.BedrockConfigError as error:
        raise _invalid(str(error)) from error
    provider.secret_options = json.dumps(secrets) if secrets else ""


def _chosen(given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: given[name] for name in names if given.get(name)}


def _stored_secrets(provider: AiProvider) -> dict[str, Any]:
    try:
        stored = json.loads(provider.secret_options or "{}")
    except (UndecryptableSecret, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _invalid(detail: str) -> serializers.ValidationError:
    return serializers.ValidationError({"settings": [detail]})

"""System checks of the settings that providers depend on."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def encryption_keys_are_usable(**_: Any) -> list[CheckMessage]:
    """Report an encryption key that is missing or malformed (providers.E001)."""
    hint = "Use keys made by: manage.py generate_key"
    if not settings.AIBRIDGE_ENCRYPTION_KEYS:
        message = "AIBRIDGE_ENCRYPTION_KEYS is empty."
        return [Error(message, hint=hint, id="providers.E001")]
    try:
        for key in settings.AIBRIDGE_ENCRYPTION_KEYS:
            Fernet(key)
    except ValueError:
        message = "AIBRIDGE_ENCRYPTION_KEYS holds a value that is not a Fernet key."
        return [Error(message, hint=hint, id="providers.E001")]
    return []

"""Pieces of request bodies: strict objects, secrets, and what makes a key text."""

from __future__ import annotations

import re
from typing import Any

from django.core.exceptions import ValidationError as ModelError
from rest_framework import serializers

from providers.validators import validate_base_url, validate_provider_name

NAME_PATTERN = "^[a-z0-9]+(-[a-z0-9]+)*$"
BASE_URL_PATTERN = r"^https?://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/-]*)?$"
SECRET_PATTERN = r"^\s*[!-~]{1,4096}\s*$"

_SECRET = re.compile(r"[!-~]{1,4096}")


class StrictSerializer(serializers.Serializer):
    """An object that refuses fields it does not know, each by name."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                raise serializers.ValidationError(
                    {name: [self._refusal(name)] for name in unknown}
                )
        return super().to_internal_value(data)

    def _refusal(self, name: str) -> str:
        return getattr(self, "refusals", {}).get(name, "is not a known field")


class StrictBooleanField(serializers.BooleanField):
    """JSON's true and false only."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictCharField(serializers.CharField):
    """A JSON string only: a number is not taken for its text.

    ``pattern`` is what the schema says of it; validators check it.
    """

    def __init__(self, *, pattern: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.pattern = pattern

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictIntegerField(serializers.IntegerField):
    """A JSON number without a fraction only."""

    def to_internal_value(self, data: Any) -> int:
        whole = isinstance(data, float) and data.is_integer()
        if isinstance(data, bool) or not (isinstance(data, int) or whole):
            self.fail("invalid")
        return super().to_internal_value(int(data))


class StrictNumberField(serializers.FloatField):
    """A JSON number only."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class SecretField(StrictCharField):
    """A key as text that fits into an HTTP header; it is never shown again."""

    def __init__(self, **options: Any) -> None:
        super().__init__(write_only=True, pattern=SECRET_PATTERN, **options)

    def to_internal_value(self, data: Any) -> str:
        secret = super().to_internal_value(data)
        if not _SECRET.fullmatch(secret):
            raise serializers.ValidationError(
                "must not contain spaces or unprintable characters, and have 4096 "
                "characters at most"
            )
        return secret


def provider_name(value: str) -> str:
    """Check a provider's name; raises DRF's ValidationError."""
    _check(validate_provider_name, value)
    return value


def base_url(value: str) -> str:
    """Check a base URL; raises DRF's ValidationError."""
    _check(validate_base_url, value)
    return value


def _check(validate: Any, value: str) -> None:
    try:
        validate(value)
    except ModelError as error:
        raise serializers.ValidationError(error.messages) from error

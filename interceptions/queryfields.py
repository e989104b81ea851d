"""Values of queries: a user, a provider, words, a moment.

Each field turns the text a reader writes into what it stands for, or says why not.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from uuid import UUID

import django_filters
from django import forms
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from interceptions.fulltext import words_in
from interceptions.moments import parse_moment
from providers.models import AiProvider

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
UNATTRIBUTED = "none"
ME = "me"


class MomentField(forms.Field):
    """An RFC 3339 timestamp; without a zone it is in the current time zone."""

    default_error_messages = {
        "invalid": "Enter a timestamp such as 2026-01-31T09:30:00Z."
    }

    def to_python(self, value: object) -> datetime | None:
        if value in self.empty_values:
            return None
        if isinstance(value, datetime):
            return value
        moment = parse_moment(str(value).strip())
        if moment is None:
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return moment


class MomentFilter(django_filters.Filter):
    """A bound in time."""

    field_class = MomentField


class StrictBooleanField(forms.Field):
    """``true`` or ``false``, and nothing that merely looks like it."""

    def to_python(self, value: object) -> bool | None:
        if value in self.empty_values:
            return None
        if isinstance(value, bool):
            return value
        if value not in {"true", "false"}:
            raise ValidationError("must be true or false", code="invalid")
        return value == "true"


class StrictBooleanFilter(django_filters.Filter):
    """A choice between yes and no."""

    field_class = StrictBooleanField


class IdField(forms.CharField):
    """A UUID in its usual form."""

    def clean(self, value: Any) -> UUID | None:
        text = super().clean(value)
        if text in self.empty_values:
            return None
        if not _UUID.fullmatch(text):
            raise ValidationError("must be a UUID", code="invalid")
        return UUID(text)


class IdFilter(django_filters.Filter):
    """The id of a row."""

    field_class = IdField


class InitiatorField(forms.CharField):
    """A user, written as a name, an id, or ``me``."""

    viewer: Any = None

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if text in self.empty_values:
            return None
        user = self.viewer if text == ME else _find_user(text)
        if user is None or user.pk is None:
            raise ValidationError(f'user "{text}" not found')
        return user


class ProviderField(forms.CharField):
    """A provider, written as an id or a name, deleted ones too; or ``none``."""

    def clean(self, value: Any) -> AiProvider | str | None:
        text = super().clean(value)
        if text in self.empty_values:
            return None
        if text == UNATTRIBUTED:
            return UNATTRIBUTED
        provider = find_provider(text)
        if provider is None:
            raise ValidationError("provider not found")
        return provider


class PromptField(forms.CharField):
    """Words to find in prompts."""

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if text and not words_in(text):
            raise ValidationError("enter at least one letter or digit")
        return text


class InitiatorFilter(django_filters.Filter):
    """Who asked."""

    field_class = InitiatorField


class ProviderFilter(django_filters.Filter):
    """A provider, or none."""

    field_class = ProviderField


class PromptFilter(django_filters.Filter):
    """Words in prompts."""

    field_class = PromptField


def find_provider(text: str) -> AiProvider | None:
    """Return a provider by id or name; of one name the live one, else the last one."""
    try:
        return AiProvider.all_objects.filter(pk=UUID(text)).first()
    except ValueError:
        pass
    named = AiProvider.all_objects.filter(name=text).order_by("-deleted_at")
    return named.filter(deleted_at=None).first() or named.first()


def _find_user(text: str) -> Any:
    users = get_user_model().objects
    by_name = users.filter(username=text).first()
    if by_name is not None or not text.isascii() or not text.isdigit():
        return by_name
    return users.filter(pk=int(text)).first() if len(text) < 10 else None

"""Creating and changing providers, each in one transaction with its audit events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError as ModelError
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework import serializers

from providers import audit, upkeep
from providers.api.errors import Conflict
from providers.api.settings import apply_settings
from providers.models import AiProvider, ApiKey


def create_provider(given: dict[str, Any], actor: Any) -> AiProvider:
    """Store a provider with its first keys; raises Conflict when the name is taken."""
    secrets = given.pop("api_keys", [])
    settings = given.pop("settings", None)
    provider = AiProvider(**given)
    apply_settings(provider, settings)
    with transaction.atomic(), _name_conflicts(provider.name):
        if AiProvider.objects.filter(name=provider.name).exists():
            raise _taken(provider.name)
        provider.save(force_insert=True)
        audit.record(actor, "create", provider, audit.snapshot(provider))
        _add_keys(provider, secrets, actor)
    return provider


def change_provider(provider: AiProvider, given: dict[str, Any], actor: Any) -> None:
    """Store what was given, and nothing else."""
    keys = given.pop("api_keys", None)
    with transaction.atomic():
        before = audit.snapshot(provider)
        _set_columns(provider, given)
        changes = audit.difference(before, audit.snapshot(provider))
        if changes:
            provider.updated_at = timezone.now()
            provider.save(update_fields=[*changes, "updated_at"])
            audit.record(actor, "change", provider, changes)
        if keys is not None:
            declare_keys(provider, keys, actor)


def declare_keys(
    provider: AiProvider, wanted: list[dict[str, Any]], actor: Any
) -> None:
    """Make the pool what is wanted: keys kept by id, others added or deleted.

    The order of the list becomes the order in which keys are tried.
    """
    with transaction.atomic():
        kept = {change["id"] for change in wanted if "id" in change}
        for key in provider.keys.defer("secret").exclude(pk__in=kept):
            upkeep.delete_key(key, actor=actor)
        secrets = [change["api_key"] for change in wanted if "api_key" in change]
        added = iter(_add_keys(provider, secrets, actor))
        order = [
            change["id"] if "id" in change else next(added).pk for change in wanted
        ]
        upkeep.set_order(provider, order, actor=actor)


def restore(provider: AiProvider, actor: Any) -> None:
    """Bring a deleted provider back; raises Conflict when its name is taken."""
    with _name_conflicts(provider.name):
        try:
            upkeep.restore(provider, actor=actor)
        except ModelError as error:
            raise _taken(provider.name) from error


@contextmanager
def secret_errors(field: str = "api_key") -> Iterator[None]:
    """Turn what the key functions refuse into a refusal of the body's field."""
    try:
        yield
    except ModelError as error:
        raise serializers.ValidationError({field: error.messages}) from error


def _add_keys(provider: AiProvider, secrets: list[str], actor: Any) -> list[ApiKey]:
    with secret_errors("api_keys"):
        return upkeep.add_keys(provider, [(each, "") for each in secrets], actor=actor)


def _set_columns(provider: AiProvider, given: dict[str, Any]) -> None:
    has_settings = "settings" in given
    settings = given.pop("settings", None)
    for name, value in given.items():
        setattr(provider, name, value)
    if has_settings:
        apply_settings(provider, settings)


@contextmanager
def _name_conflicts(name: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise _taken(name) from error


def _taken(name: str) -> Conflict:
    return Conflict(f'A provider named "{name}" exists.')

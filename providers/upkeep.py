"""What administrators do to providers and keys, each with its audit event.

The one place for it, whether a page, the API or a command asks. ``actor`` is the user,
or the name of what has none. Rows are changed column by column, so that health marked
meanwhile is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from providers import audit, keystate
from providers.audit import Actor
from providers.encryption import UndecryptableSecret
from providers.models import AiProvider, ApiKey
from providers.trial import KeyTest

_UNREADABLE = (
    "The stored secret cannot be read: the key it was encrypted with is not configured."
    " Configure that, or rotate this key."
)


def set_enabled(row: AiProvider | ApiKey, enabled: bool, *, actor: Actor) -> bool:
    """Switch a provider or a key on or off; return whether that changed it."""
    if row.enabled == enabled:
        return False
    _update(row, actor, "enable" if enabled else "disable", enabled=enabled)
    return True


def soft_delete(provider: AiProvider, *, actor: Actor) -> bool:
    """Take a provider away from clients and lists; its history and keys stay."""
    if provider.deleted_at is not None:
        return False
    _update(provider, actor, "delete", deleted_at=timezone.now(), enabled=False)
    return True


def restore(provider: AiProvider, *, actor: Actor) -> bool:
    """Bring a deleted provider back, switched off.

    Raises ValidationError when a live provider has its name by now.
    """
    if provider.deleted_at is None:
        return False
    with transaction.atomic():
        if AiProvider.objects.filter(name=provider.name).exists():
            raise ValidationError(
                f'A provider named "{provider.name}" exists; delete that one first.'
            )
        _update(provider, actor, "restore", deleted_at=None)
    return True


def add_keys(
    provider: AiProvider, keys: Iterable[tuple[str, str]], *, actor: Actor
) -> list[ApiKey]:
    """Append (secret, label) pairs to a pool, all or none.

    Raises ValidationError naming what is wrong. No other key is touched.
    """
    with transaction.atomic():
        rows = [keystate.add_key(provider, secret, label) for secret, label in keys]
        for row in rows:
            audit.record(actor, "create", row, _born(row))
    return rows


def rotate(key: ApiKey, secret: str, *, actor: Actor) -> bool:
    """Give a key another secret; False if it is the same. Raises ValidationError."""
    before = key.hint
    with transaction.atomic():
        if not keystate.set_secret(key, secret, actor=str(actor)):
            return False
        audit.record(actor, "rotate", key, {"hint": [before, key.hint]})
    return True


def return_to_service(key: ApiKey, *, actor: Actor) -> bool:
    """Make a resting or retired key valid again; False if it was."""
    with transaction.atomic():
        returned = keystate.return_to_service(key, actor=str(actor))
        if returned:
            audit.record(actor, "return", key)
    return returned


def test_key(key: ApiKey, *, actor: Actor) -> KeyTest:
    """Ask upstream whether it accepts a key; blocks up to 20 seconds."""
    try:
        test = keystate.test_key(key, actor=str(actor))
    except UndecryptableSecret:
        return KeyTest(False, None, _UNREADABLE, 0)
    audit.record(actor, "test", key, {"answer": test.message})
    return test


test_key.__test__ = False  # type: ignore[attr-defined]


def relabel(key: ApiKey, label: str, *, actor: Actor) -> bool:
    """Change a key's label; False if it is the same."""
    label = label.strip()[:100]
    if label == key.label:
        return False
    _update(key, actor, "change", label=label)
    return True


def delete_key(key: ApiKey, *, actor: Actor) -> None:
    """Remove a key for good; attempts keep its hint."""
    with transaction.atomic():
        audit.record(actor, "delete", key, _born(key))
        key.delete()


def set_order(provider: AiProvider, order: Sequence[UUID], *, actor: Actor) -> bool:
    """Try a provider's keys in this order; keys not named come after, as they were."""
    with transaction.atomic():
        keys = {
            key.pk: key for key in provider.keys.defer("secret").select_for_update()
        }
        before = list(keys)
        wanted = [pk for pk in order if pk in keys]
        after = wanted + [pk for pk in before if pk not in wanted]
        if after == before:
            return False
        for position, pk in enumerate(after):
            ApiKey.objects.filter(pk=pk).update(position=position)
        hints = [[keys[pk].hint for pk in pks] for pks in (before, after)]
        audit.record(actor, "reorder", provider, {"keys": hints})
    return True


def move_key(key: ApiKey, by: int, *, actor: Actor) -> bool:
    """Move a key so many places down (up when negative) among its provider's keys."""
    order = list(key.provider.keys.values_list("pk", flat=True))
    place = order.index(key.pk)
    order.insert(max(0, min(place + by, len(order) - 1)), order.pop(place))
    return set_order(key.provider, order, actor=actor)


def _update(row: AiProvider | ApiKey, actor: Actor, action: str, **values: Any) -> None:
    changes = {name: [getattr(row, name), value] for name, value in values.items()}
    with transaction.atomic():
        type(row)._base_manager.filter(pk=row.pk).update(
            **values, updated_at=timezone.now()
        )
        for name, value in values.items():
            setattr(row, name, value)
        audit.record(actor, action, row, changes)


def _born(key: ApiKey) -> dict[str, Any]:
    return {"provider": key.provider.name, "label": key.label, "hint": key.hint}

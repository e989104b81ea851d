"""Who changed what, and how: the audit trail of providers, keys, tokens and users.

Written in the transaction of the change itself. Secrets are shown by their hints only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import models

from providers.encryption import EncryptedTextField
from providers.masking import mask
from providers.models import AuditEvent

Actor = models.Model | AnonymousUser | str
"""A user, as requests carry one, or a name for what has no user."""

_SECRET_NAME = re.compile(
    r"secret|password|token$|digest|fingerprint|credential|api_?key$", re.IGNORECASE
)
_UNTOLD = frozenset({"id", "created_at", "updated_at", "last_login", "last_used_at"})


@dataclass(frozen=True, slots=True)
class Hidden:
    """A value that may be compared but not shown; ``shown`` stands for it."""

    value: str
    shown: str

    def __repr__(self) -> str:
        return f"<Hidden {self.shown}>"


def snapshot(target: models.Model) -> dict[str, Any]:
    """Return the columns of a row that an audit tells of, by name."""
    return {
        field.attname: _told(field, field.value_from_object(target))
        for field in target._meta.concrete_fields
        if field.name not in _UNTOLD
    }


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs between two snapshots, as ``{name: [old, new]}``."""
    return {
        name: [before.get(name), after.get(name)]
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }


def record(
    actor: Actor | None,
    action: str,
    target: models.Model,
    changes: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Write one event; ``actor`` is the user, or a name for what has no user.

    ``action`` is a word such as create, change, delete, revoke, return. Whatever in
    ``changes`` is named like a secret is masked.
    """
    return AuditEvent.objects.create(
        actor=actor if isinstance(actor, get_user_model()) else None,
        actor_name=_name(actor)[:150],
        action=action,
        target_type=target._meta.model_name or "",
        target_id=str(target.pk),
        target_name=str(target)[:200],
        changes={name: _shown(name, value) for name, value in (changes or {}).items()},
    )


def _name(actor: Actor | None) -> str:
    if isinstance(actor, models.Model):
        return str(getattr(actor, "username", actor))
    return str(actor) if actor else "system"


def _told(field: models.Field[Any, Any], value: Any) -> Any:
    if isinstance(field, EncryptedTextField):
        return Hidden(value or "", mask(value or ""))
    if _SECRET_NAME.search(field.name):
        return Hidden(str(value), "***" if value else "")
    return value


def _shown(name: str, value: Any) -> Any:
    """Return the value as JSON may hold it, with secrets masked."""
    if isinstance(value, Hidden):
        return value.shown
    if isinstance(value, Mapping):
        return {str(key): _shown(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_shown(name, item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_NAME.search(name):
        return mask(str(value))
    return value if isinstance(value, int | float) else str(value)

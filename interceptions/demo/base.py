"""The users, tokens, providers and keys that made-up traffic needs.

Nobody can log in as one of the users, and the providers' addresses do not exist.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from interceptions.demo.parts import DemoProvider
from interceptions.demo.traffic import DemoUser
from providers.keystate import add_key
from providers.models import AiProvider, ApiKey

_PROVIDERS = (
    ("demo-anthropic-eu", "anthropic", "Anthropic, Europe", 3),
    ("demo-anthropic-us", "anthropic", "Anthropic, America", 2),
    ("demo-anthropic-trial", "anthropic", "Anthropic, on trial", 1),
    ("demo-openai", "openai", "OpenAI", 2),
    ("demo-copilot", "copilot", "GitHub Copilot", 0),
)
_DELETED = "demo-anthropic-trial"
_ROLES = {"demo-admin": "Administrators", "demo-auditor": "Auditors"}


def make_users(count: int) -> list[DemoUser]:
    """Store an administrator, an auditor and members, each with a token."""
    names = [*_ROLES, *(f"demo-{number:02}" for number in range(1, count + 1))]
    return [_make_user(name, number) for number, name in enumerate(names)]


def make_providers(now: datetime) -> list[DemoProvider]:
    """Store the providers, one of them deleted, and their keys in various health."""
    made = [_make_provider(*provider) for provider in _PROVIDERS]
    for key in ApiKey.objects.filter(provider__name="demo-anthropic-us")[:1]:
        ApiKey.objects.filter(pk=key.pk).update(
            cooldown_until=now + timedelta(minutes=40), reason="rate_limited",
            last_status=429, last_error="slow down", last_error_at=now,
        )  # fmt: skip
    for key in ApiKey.objects.filter(provider__name="demo-openai")[1:]:
        ApiKey.objects.filter(pk=key.pk).update(
            retired_at=now, reason="unauthorized", last_status=401,
            last_error="invalid api key", last_error_at=now,
        )  # fmt: skip
    AiProvider.objects.filter(name=_DELETED).update(deleted_at=now, enabled=False)
    return made


def _make_user(name: str, number: int) -> DemoUser:
    user = get_user_model().objects.create_user(name, is_staff=name in _ROLES)
    if name in _ROLES:
        user.groups.add(Group.objects.get(name=_ROLES[name]))
    return DemoUser(user.pk, _make_token(user, number).pk)


def _make_token(user: Any, number: int) -> Any:
    """Store a token that no text belongs to: its digest is of nothing usable."""
    return apps.get_model("proxy", "GatewayToken").objects.create(
        owner=user,
        name="workstation",
        prefix=f"demo{number:04}",
        digest=hashlib.sha256(f"no token {number}".encode()).hexdigest(),
    )


def _make_provider(name: str, kind: str, label: str, keys: int) -> DemoProvider:
    row = AiProvider.objects.create(
        name=name,
        kind=kind,
        display_name=label,
        base_url=f"https://{name}.invalid/v1",
    )
    added = [
        add_key(row, f"demo-key-{name}-{number:04}", f"account {number}")
        for number in range(1, keys + 1)
    ]
    return DemoProvider(row.pk, name, kind, [(key.pk, key.hint) for key in added])

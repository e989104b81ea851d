"""Adds people in a role; what the roles may do is told in ``roles``."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from interceptions.roles import ADMINISTRATORS, AUDITORS
from providers import audit

GROUPS = {"admin": ADMINISTRATORS, "auditor": AUDITORS, "member": ""}


def new_password() -> str:
    """Return a password that nobody guesses and that can be typed."""
    return secrets.token_urlsafe(12)


def add_user(name: str, role: str, password: str, *, actor: str) -> Any:
    """Store an active user in a role of ``GROUPS``; raises ValidationError."""
    user = get_user_model()(username=name, is_staff=role != "member")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from None
    user.set_password(password)
    user.full_clean()
    with transaction.atomic():
        user.save()
        if GROUPS[role]:
            user.groups.add(Group.objects.get(name=GROUPS[role]))
        audit.record(actor, "create", user, {"role": role})
    return user

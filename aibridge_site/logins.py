"""Logging in to the pages: any active user, and not too many wrong guesses.

Failures are counted from the audit trail, so that all processes and nodes share the
count and nobody has to keep it.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from unfold.forms import AuthenticationForm as UnfoldAuthenticationForm

from providers.models import AuditEvent

WINDOW = timedelta(minutes=5)
MOST_FOR_NAME = 5
MOST_FOR_ADDRESS = 30
ACTION = "login failed"
_NAME, _ADDRESS = "login name", "login address"


class LoginForm(UnfoldAuthenticationForm):
    """Refuses at once after too many failures; never says which part was wrong."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "too_many": "Too many failed logins. Try again in a few minutes.",
    }

    def confirm_login_allowed(self, user: Any) -> None:
        """Let every active user in; Django's own form asks for staff."""
        AuthenticationForm.confirm_login_allowed(self, user)

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username", "")
        address = client_address(self.request)
        if is_locked(username, address):
            raise ValidationError(self.error_messages["too_many"], code="too_many")
        try:
            return super().clean()
        except ValidationError:
            note_failure(username, address)
            raise


def client_address(request: HttpRequest | None) -> str:
    """Return the caller's address, as the trusted proxy in front tells it."""
    meta = request.META if request is not None else {}
    forwarded = meta.get("HTTP_X_FORWARDED_FOR", "")
    if settings.SECURE_PROXY_SSL_HEADER and forwarded:
        # The last entry is the proxy's own; those before it anybody can make up.
        return forwarded.rsplit(",", 1)[-1].strip()
    return meta.get("REMOTE_ADDR", "")


def is_locked(username: str, address: str) -> bool:
    """Whether this name from this address, or this address, failed too often."""
    return (
        _failures(_NAME, _digest(f"{username}\n{address}")) >= MOST_FOR_NAME
        or _failures(_ADDRESS, _digest(address)) >= MOST_FOR_ADDRESS
    )


def note_failure(username: str, address: str) -> None:
    """Write a failed login down; a name that no user has is not stored.

    It could be a password, typed into the wrong field.
    """
    known = get_user_model().objects.filter(username=username).exists()
    name = username if known else "unknown user"
    targets = {_NAME: f"{username}\n{address}", _ADDRESS: address}
    AuditEvent.objects.bulk_create(
        AuditEvent(
            actor_name=name,
            action=ACTION,
            target_type=kind,
            target_id=_digest(value),
            target_name=name if kind == _NAME else address[:200],
        )
        for kind, value in targets.items()
    )


def _failures(kind: str, digest: str) -> int:
    return AuditEvent.objects.filter(
        target_type=kind, target_id=digest, at__gte=timezone.now() - WINDOW
    ).count()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

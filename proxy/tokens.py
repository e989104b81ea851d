"""What people do to gateway tokens: create, revoke, see what became of them.

``actor`` is the user who does it, or the name of what has none.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from providers import audit
from providers.audit import Actor
from proxy.actors import issue_token
from proxy.models import GatewayToken

SOON = timedelta(days=7)
STATE_LABELS = {
    "active": "Active",
    "expiring": "Expires soon",
    "expired": "Expired",
    "revoked": "Revoked",
}


def create(
    owner: User,
    name: str,
    expires_at: datetime | None,
    *,
    actor: Actor,
) -> tuple[GatewayToken, str]:
    """Return a new token and its text, which is never shown again."""
    with transaction.atomic():
        row, raw = issue_token(owner, name, expires_at)
        facts = {"owner": owner.get_username(), "expires_at": expires_at}
        audit.record(actor, "create", row, facts)
    return row, raw


def revoke(token: GatewayToken, *, actor: Actor) -> bool:
    """Refuse a token from now on; False if it was revoked already."""
    with transaction.atomic():
        rows = GatewayToken.objects.filter(pk=token.pk, revoked_at=None)
        if not rows.update(revoked_at=timezone.now()):
            return False
        audit.record(actor, "revoke", token)
    token.refresh_from_db()
    return True


def state(token: GatewayToken, now: datetime) -> str:
    """Return a key of STATE_LABELS."""
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is None:
        return "active"
    if token.expires_at <= now:
        return "expired"
    return "expiring" if token.expires_at <= now + SOON else "active"


def in_state(name: str, now: datetime) -> Q:
    """Return the condition on tokens in this state."""
    live = Q(revoked_at=None)
    endless = Q(expires_at=None)
    return {
        "revoked": ~live,
        "expired": live & Q(expires_at__lte=now),
        "expiring": live & Q(expires_at__gt=now, expires_at__lte=now + SOON),
        "active": live & (endless | Q(expires_at__gt=now + SOON)),
    }[name]

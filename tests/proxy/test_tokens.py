"""Gateway tokens: created, revoked, and what became of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from providers.models import AuditEvent
from proxy import tokens
from proxy.actors import digest
from proxy.models import GatewayToken
from tests.people import *  # noqa: F403

pytestmark = pytest.mark.django_db

NOW = timezone.now()


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({}, "active"),
        ({"expires_at": NOW + timedelta(days=30)}, "active"),
        ({"expires_at": NOW + timedelta(days=6)}, "expiring"),
        ({"expires_at": NOW}, "expired"),
        ({"revoked_at": NOW, "expires_at": NOW}, "revoked"),
    ],
)
def test_state_in_python_and_in_queries_is_the_same(member, columns, state):
    tokens.create(member, "laptop", None, actor=member)
    GatewayToken.objects.update(**columns)
    assert tokens.state(GatewayToken.objects.get(), NOW) == state
    rows = GatewayToken.objects
    found = {s for s in tokens.STATE_LABELS if rows.filter(tokens.in_state(s, NOW))}
    assert found == {state}


def test_only_the_digest_is_stored_and_the_audit_has_no_secret(member):
    row, raw = tokens.create(member, "laptop", None, actor=member)
    assert row.digest == digest(raw)
    secret = raw.rpartition("_")[2]
    stored = str(GatewayToken.objects.values().get()) + str(AuditEvent.objects.values())
    assert secret not in stored


def test_revoking_twice_is_one_change(member, admin):
    row, _ = tokens.create(member, "laptop", None, actor=member)
    assert tokens.revoke(row, actor=admin)
    assert not tokens.revoke(row, actor=admin)
    assert AuditEvent.objects.filter(action="revoke").count() == 1

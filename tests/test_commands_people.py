"""``manage.py users`` and ``manage.py tokens``: who may come in."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management.base import CommandError
from django.utils import timezone

from providers.models import AuditEvent
from proxy.actors import digest
from proxy.models import GatewayToken
from tests.commands import run

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PASSWORD = "correct horse battery"


@pytest.fixture
def ana():
    run("users", "add", "ana", "--role", "member", "--password", PASSWORD)
    return get_user_model().objects.get(username="ana")


@pytest.mark.parametrize(
    ("role", "groups", "is_staff"),
    [
        ("admin", ["Administrators"], True),
        ("auditor", ["Auditors"], True),
        ("member", [], False),
    ],
)
def test_role_decides_groups_and_admin_access(role, groups, is_staff):
    run("users", "add", "bo", "--role", role, "--password", PASSWORD)
    user = get_user_model().objects.get(username="bo")
    assert [group.name for group in user.groups.all()] == groups
    assert user.is_staff is is_staff
    assert user.is_superuser is False


def test_generated_password_is_printed_and_works():
    password = run("users", "add", "bo", "--role", "auditor")
    assert authenticate(username="bo", password=password) is not None


def test_given_password_is_not_printed_and_not_audited():
    said = run("users", "add", "bo", "--role", "admin", "--password", PASSWORD)
    assert said == "bo"
    assert PASSWORD not in json.dumps(AuditEvent.objects.get().changes)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["bo", "--role", "member", "--password", "short"], "password: .* too short"),
        (["ana", "--role", "member", "--password", PASSWORD], "username: .* exists"),
        (["b/o", "--role", "member", "--password", PASSWORD], "username: .* valid"),
        (["bo", "--role", "king"], "invalid choice: 'king'"),
    ],
)
def test_wrong_user_is_refused_with_the_field(ana, words, named):
    with pytest.raises(CommandError, match=named):
        run("users", "add", *words)
    assert get_user_model().objects.count() == 1


def test_token_is_all_that_is_printed_and_only_its_hash_is_stored(ana):
    token = run("tokens", "create", "--user", "ana", "--name", "laptop")
    row = GatewayToken.objects.get()
    assert token.startswith(f"aib_{row.prefix}_")
    assert row.digest == digest(token)
    assert (row.owner, row.name, row.expires_at) == (ana, "laptop", None)


def test_token_expires_after_the_days_that_were_asked_for(ana):
    run("tokens", "create", "--user", "ana", "--name", "ci", "--days", "7")
    left = GatewayToken.objects.get().expires_at - timezone.now()
    assert timedelta(days=6.9) < left < timedelta(days=7)


@pytest.mark.parametrize("shown", ["prefix", "aib_prefix", "whole token"])
def test_token_is_revoked_by_whatever_of_it_is_known(ana, shown):
    token = run("tokens", "create", "--user", "ana", "--name", "laptop")
    prefix = GatewayToken.objects.get().prefix
    known = {"prefix": prefix, "aib_prefix": f"aib_{prefix}", "whole token": token}
    assert run("tokens", "revoke", known[shown]) == prefix
    first = GatewayToken.objects.get().revoked_at
    run("tokens", "revoke", prefix)
    assert GatewayToken.objects.get().revoked_at == first is not None
    assert [event.action for event in AuditEvent.objects.order_by("id")][1:] == [
        "create",
        "revoke",
    ]


def test_unknown_people_and_tokens_are_named_in_the_error():
    with pytest.raises(CommandError, match="no user is named 'nobody'"):
        run("tokens", "create", "--user", "nobody", "--name", "x")
    with pytest.raises(CommandError, match="no token has the prefix 'f00'"):
        run("tokens", "revoke", "aib_f00_rest")


def test_list_tells_each_tokens_state_and_never_the_token(ana):
    tokens = [
        run("tokens", "create", "--user", "ana", "--name", name)
        for name in ("valid", "revoked", "expired")
    ]
    run("tokens", "revoke", tokens[1])
    GatewayToken.objects.filter(name="expired").update(expires_at=timezone.now())
    text = run("tokens", "list", "--user", "ana", "--format", "json")
    assert {row["name"]: row["state"] for row in json.loads(text)} == {
        "valid": "active",
        "revoked": "revoked",
        "expired": "expired",
    }
    assert not any(token in text for token in tokens)

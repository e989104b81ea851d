"""The audit trail says who changed what, and shows no secret."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from providers import audit, keystate
from providers.models import AuditEvent

pytestmark = pytest.mark.django_db

KEY_A, KEY_B = "sk-ant-api03-aaaaaaaa", "sk-ant-api03-bbbbbbbb"


def test_event_names_actor_action_and_target(make_provider):
    ana = get_user_model().objects.create_user("ana")
    provider = make_provider("main", display_name="Main")
    event = audit.record(ana, "change", provider, {"enabled": [True, False]})
    stored = AuditEvent.objects.get(pk=event.pk)
    assert (stored.actor, stored.actor_name, stored.action) == (ana, "ana", "change")
    assert (stored.target_type, stored.target_id) == ("aiprovider", str(provider.pk))
    assert stored.target_name == "Main"
    assert stored.changes == {"enabled": [True, False]}


def test_event_outlives_the_user_who_caused_it(make_provider):
    ana = get_user_model().objects.create_user("ana")
    audit.record(ana, "create", make_provider("main"))
    ana.delete()
    stored = AuditEvent.objects.get()
    assert (stored.actor, stored.actor_name) == (None, "ana")


@pytest.mark.parametrize(("actor", "name"), [("seed", "seed"), (None, "system")])
def test_actor_need_not_be_a_user(make_provider, actor, name):
    assert audit.record(actor, "create", make_provider("main")).actor_name == name


def test_difference_of_two_snapshots_tells_what_changed(make_provider):
    provider = make_provider("main")
    before = audit.snapshot(provider)
    provider.idle_timeout = 5.0
    provider.options = {"region": "eu"}
    changes = audit.difference(before, audit.snapshot(provider))
    stored = audit.record("ana", "change", provider, changes).changes
    assert stored == {"idle_timeout": [300.0, 5.0], "options": [{}, {"region": "eu"}]}


def test_changed_secret_is_shown_by_its_hints(make_provider):
    row = make_provider("main", KEY_A).keys.get()
    before = audit.snapshot(row)
    keystate.set_secret(row, KEY_B, actor="ana")
    changes = audit.difference(before, audit.snapshot(row))
    event = audit.record("ana", "change", row, changes)
    event.refresh_from_db()
    assert event.changes["secret"] == ["sk-a...aaaa", "sk-a...bbbb"]
    assert KEY_A not in str(event.changes)
    assert KEY_B not in str(event.changes)
    assert row.fingerprint not in str(event.changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": KEY_A},
        {"password": ["", KEY_A]},
        {"secret_options": {"aws_secret_access_key": KEY_A}},
        {"options": {"api_key": KEY_A}},
        {"token": KEY_A},
        {"digest": KEY_A},
    ],
)
def test_whatever_is_named_like_a_secret_is_masked(make_provider, changes):
    event = audit.record("ana", "change", make_provider("main"), changes)
    event.refresh_from_db()
    assert KEY_A not in str(event.changes)


def test_snapshot_does_not_show_secrets_when_printed(make_provider):
    provider = make_provider("main", KEY_A, secret_options='{"a": "very-secret-1"}')
    shown = f"{audit.snapshot(provider)} {audit.snapshot(provider.keys.get())}"
    assert KEY_A not in shown
    assert "very-secret-1" not in shown

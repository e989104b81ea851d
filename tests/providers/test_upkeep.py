"""What administrators do to providers and keys: once, audited, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from providers import upkeep
from providers.models import AiProvider, ApiKey, AuditEvent
from tests.people import *  # noqa: F403

pytestmark = pytest.mark.django_db


def hints(provider):
    return [key.secret for key in provider.keys.all()]


def last_event():
    return AuditEvent.objects.latest("id")


def test_switching_off_twice_is_one_change(admin, make_provider):
    provider = make_provider("main")
    assert upkeep.set_enabled(provider, False, actor=admin)
    assert not upkeep.set_enabled(provider, False, actor=admin)
    event = AuditEvent.objects.get()
    assert (event.action, event.actor_name) == ("disable", "ada")
    assert event.changes == {"enabled": [True, False]}


def test_switching_a_key_off_keeps_health_marked_meanwhile(admin, make_provider):
    make_provider("main", "sk-one")
    stale = ApiKey.objects.get()
    until = timezone.now() + timedelta(minutes=5)
    ApiKey.objects.update(cooldown_until=until, last_status=429)
    upkeep.set_enabled(stale, False, actor=admin)
    key = ApiKey.objects.get()
    assert (key.enabled, key.last_status, key.cooldown_until) == (False, 429, until)


def test_deleted_provider_keeps_its_keys_and_can_come_back(admin, make_provider):
    provider = make_provider("main", "sk-one")
    assert upkeep.soft_delete(provider, actor=admin)
    assert not AiProvider.objects.exists()
    assert upkeep.restore(provider, actor=admin)
    row = AiProvider.objects.get()
    assert (row.enabled, hints(row)) == (False, ["sk-one"])
    actions = AuditEvent.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["delete", "restore"]


def test_provider_whose_name_was_taken_cannot_come_back(admin, make_provider):
    old = make_provider("main")
    upkeep.soft_delete(old, actor=admin)
    make_provider("main")
    with pytest.raises(ValidationError, match='named "main" exists'):
        upkeep.restore(old, actor=admin)
    assert AiProvider.all_objects.filter(deleted_at=None).count() == 1


def test_keys_are_added_together_or_not_at_all(admin, make_provider):
    provider = make_provider("main", "sk-one")
    with pytest.raises(ValidationError, match="already has this key"):
        upkeep.add_keys(provider, [("sk-two", ""), ("sk-one", "")], actor=admin)
    assert hints(provider) == ["sk-one"]
    upkeep.add_keys(provider, [("sk-two", "second"), ("sk-three", "")], actor=admin)
    assert hints(provider) == ["sk-one", "sk-two", "sk-three"]


def test_order_is_set_for_named_keys_and_kept_for_the_others(admin, make_provider):
    provider = make_provider("main", "sk-one", "sk-two", "sk-three")
    one, two, three = provider.keys.all()
    upkeep.set_order(provider, [three.pk], actor=admin)
    assert hints(provider) == ["sk-three", "sk-one", "sk-two"]
    assert not upkeep.set_order(provider, [three.pk, one.pk], actor=admin)


def test_key_of_another_provider_has_no_place_in_the_order(admin, make_provider):
    provider, other = make_provider("main", "sk-one"), make_provider("two", "sk-x")
    assert not upkeep.set_order(provider, [other.keys.get().pk], actor=admin)


@pytest.mark.parametrize(
    ("by", "order"),
    [
        (1, ["sk-one", "sk-three", "sk-two"]),
        (-1, ["sk-two", "sk-one", "sk-three"]),
        (9, ["sk-one", "sk-three", "sk-two"]),
        (-9, ["sk-two", "sk-one", "sk-three"]),
    ],
)
def test_key_moves_and_stops_at_the_ends(admin, make_provider, by, order):
    provider = make_provider("main", "sk-one", "sk-two", "sk-three")
    key = provider.keys.all()[1]
    upkeep.move_key(key, by, actor=admin)
    assert hints(provider) == order


def test_rotating_keeps_place_and_label_and_tells_hints_only(admin, make_provider):
    provider = make_provider("main", "sk-old-" + "a" * 30, "sk-other")
    key = provider.keys.first()
    upkeep.relabel(key, "billing", actor=admin)
    assert upkeep.rotate(key, "sk-new-" + "b" * 30, actor=admin)
    row = provider.keys.first()
    assert (row.pk, row.label, row.secret) == (key.pk, "billing", "sk-new-" + "b" * 30)
    assert last_event().action == "rotate"
    assert "a" * 30 not in str(last_event().changes)
    assert "b" * 30 not in str(last_event().changes)


def test_the_same_secret_is_no_rotation(admin, make_provider):
    key = make_provider("main", "sk-one").keys.get()
    assert not upkeep.rotate(key, "sk-one", actor=admin)
    assert not AuditEvent.objects.filter(action="rotate").exists()


def test_returning_a_healthy_key_is_no_event(admin, make_provider):
    key = make_provider("main", "sk-one").keys.get()
    assert not upkeep.return_to_service(key, actor=admin)
    ApiKey.objects.update(retired_at=timezone.now(), reason="unauthorized")
    assert upkeep.return_to_service(key, actor=admin)
    assert last_event().action == "return"
    assert ApiKey.objects.get().retired_at is None


def test_deleting_a_key_touches_no_other(admin, make_provider):
    provider = make_provider("main", "sk-one", "sk-two")
    upkeep.delete_key(provider.keys.first(), actor=admin)
    assert hints(provider) == ["sk-two"]
    assert last_event().changes["provider"] == "main"

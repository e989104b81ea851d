"""A provider's keys over REST."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from providers.models import AiProvider, ApiKey, AuditEvent
from proxy.actors import actors
from tests.upstream import FakeUpstream

SECRETS = ["key-a-000000000000000001", "key-b-000000000000000002"]


@pytest.fixture
def upstream():
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def keys(as_admin, upstream):
    """The paths of two keys of a provider whose upstream is fake."""
    body = {"kind": "openai", "name": "main", "base_url": upstream.url}
    answer = as_admin.post("providers/", body | {"api_keys": SECRETS})
    assert answer.status_code == 201, answer.json()
    ids = [key["id"] for key in answer.json()["api_keys"]]
    return [f"providers/main/keys/{each}/" for each in ids]


def test_key_is_added_at_the_end_with_its_label(as_admin, keys):
    body = {"api_key": "key-c-000000000000000003", "label": "team c"}
    answer = as_admin.post("providers/main/keys/", body)
    assert answer.status_code == 201
    assert answer.json()["position"] == 2
    assert answer.json()["label"] == "team c"
    assert "000003" not in answer.content.decode()
    rows = as_admin.get("providers/main/keys/").json()
    assert [row["hint"] for row in rows] == [
        "key-...0001",
        "key-...0002",
        "key-...0003",
    ]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"api_key": SECRETS[0]}, "already has this key"),
        ({"api_key": ""}, "blank"),
        ({"api_key": "  "}, "blank"),
        ({"api_key": "a b"}, "spaces"),
        ({"api_key": "x" * 5000}, "4096"),
        ({"api_key": None}, "null"),
        ({}, "required"),
        ({"api_key": "k", "label": "x" * 101}, "100"),
        ({"api_key": "k", "secret": "x"}, "not a known field"),
    ],
)
def test_key_that_cannot_be_is_refused(as_admin, keys, body, detail):
    answer = as_admin.post("providers/main/keys/", body)
    assert answer.status_code == 400
    assert detail in answer.json()["validations"][0]["detail"]
    assert ApiKey.objects.count() == 2


def test_key_is_labelled_and_switched(as_admin, keys):
    answer = as_admin.patch(keys[0], {"label": "team a", "enabled": False})
    assert answer.json()["label"] == "team a"
    assert answer.json()["enabled"] is False
    assert answer.json()["health"]["state"] == "off"
    assert as_admin.patch(keys[0], {"enabled": True}).json()["enabled"] is True
    assert as_admin.patch(keys[0], {}).status_code == 400
    assert as_admin.patch(keys[0], {"position": 3}).status_code == 400


def test_keys_are_put_in_order(as_admin, keys):
    ids = [row["id"] for row in as_admin.get("providers/main/keys/").json()]
    answer = as_admin.send("PUT", "providers/main/keys/order/", {"ids": ids[::-1]})
    assert [row["id"] for row in answer.json()] == ids[::-1]
    for wrong in ([ids[0], ids[0]], [str(uuid.uuid4())], ["x"], "x"):
        body = {"ids": wrong}
        answer = as_admin.send("PUT", "providers/main/keys/order/", body)
        assert answer.status_code == 400
    assert [row["id"] for row in as_admin.get("providers/main/keys/").json()] == (
        ids[::-1]
    )


def test_key_is_rotated_in_place_and_healthy_again(as_admin, keys):
    as_admin.patch(keys[0], {"label": "team a"})
    ApiKey.objects.filter(position=0).update(
        retired_at=timezone.now(), reason="unauthorized", last_status=401
    )
    answer = as_admin.post(f"{keys[0]}rotate/", {"api_key": "key-z-00000000000000009"})
    body = answer.json()
    assert (body["hint"], body["position"], body["label"]) == (
        "key-...0009",
        0,
        "team a",
    )
    assert body["health"]["state"] == "valid"
    answer = as_admin.post(f"{keys[0]}rotate/", {"api_key": SECRETS[1]})
    assert answer.status_code == 400
    assert answer.json()["validations"][0]["field"] == "api_key"


def test_deleting_a_key_leaves_the_others(as_admin, keys):
    assert as_admin.delete(keys[0]).status_code == 204
    assert as_admin.delete(keys[0]).status_code == 404
    (left,) = as_admin.get("providers/main/keys/").json()
    assert left["hint"] == "key-...0002"


def test_health_says_state_until_reason_and_last_answer(as_admin, keys):
    until = timezone.now() + timedelta(hours=1)
    ApiKey.objects.filter(position=0).update(
        cooldown_until=until, reason="quota", last_status=429, last_error="no money"
    )
    health = as_admin.get(keys[0]).json()["health"]
    assert health["state"] == "temporary"
    assert health["until"] == until.isoformat().replace("+00:00", "Z")
    assert health["reason"] == "quota"
    assert health["last_status"] == 429
    assert health["last_error"] == "no money"
    assert health["last_used_at"] is None


def test_key_is_returned_to_service(as_admin, keys):
    ApiKey.objects.filter(position=0).update(
        retired_at=timezone.now(), reason="unauthorized"
    )
    assert as_admin.get(keys[0]).json()["health"]["state"] == "permanent"
    answer = as_admin.post(f"{keys[0]}return/")
    assert answer.status_code == 200
    assert answer.json()["health"]["state"] == "valid"
    assert AuditEvent.objects.filter(action="return", actor_name="ada").exists()


def test_tested_key_tells_what_upstream_said(as_admin, keys, upstream):
    upstream.script(SECRETS[0], 200, body=b'{"data": []}')
    upstream.script(SECRETS[1], 401, body=b'{"error": {"message": "bad key"}}')
    works = as_admin.post(f"{keys[0]}test/").json()
    assert (works["ok"], works["status"]) == (True, 200)
    broken = as_admin.post(f"{keys[1]}test/").json()
    assert (broken["ok"], broken["status"]) == (False, 401)
    assert broken["key"]["health"]["last_status"] == 401
    assert SECRETS[1] not in str(broken)


def test_unknown_key_or_key_of_another_provider_is_404(as_admin, keys):
    other = AiProvider.objects.create(name="other", kind="openai", base_url="http://x")
    assert as_admin.get(f"providers/main/keys/{uuid.uuid4()}/").status_code == 404
    elsewhere = keys[0].replace("main", other.name)
    for method in ("GET", "PATCH", "DELETE"):
        assert as_admin.send(method, elsewhere, {"label": "x"}).status_code == 404
    assert as_admin.get("providers/nothing/keys/").status_code == 404


@pytest.mark.parametrize("more", [0, 6])
def test_list_takes_the_same_queries_however_long(
    as_admin, keys, django_assert_num_queries, more
):
    for number in range(more):
        body = {"api_key": f"key-{number}-00000000000000009"}
        as_admin.post("providers/main/keys/", body)
    as_admin.get("providers/main/keys/")
    actors.forget()
    with django_assert_num_queries(6):
        as_admin.get("providers/main/keys/")


def test_audit_names_who_did_it_and_shows_no_secret(as_admin, keys):
    as_admin.post(f"{keys[0]}rotate/", {"api_key": "key-z-00000000000000009"})
    event = AuditEvent.objects.filter(action="rotate").get()
    assert event.actor_name == "ada"
    assert event.changes == {"hint": ["key-...0001", "key-...0009"]}

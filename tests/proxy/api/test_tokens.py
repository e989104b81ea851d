"""Gateway tokens over REST."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from providers.models import AuditEvent
from proxy.actors import actors, authenticate_token, issue_token
from proxy.errors import Unauthorized
from proxy.models import GatewayToken


def make(api, **body):
    answer = api.post("tokens/", {"name": "laptop"} | body)
    assert answer.status_code == 201, answer.json()
    return answer.json()


def test_text_of_a_token_is_shown_once_and_lets_in(as_member, member):
    made = make(as_member)
    assert made["token"].startswith(f"aib_{made['prefix']}_")
    assert made["owner"] == {"id": member.pk, "username": "mia"}
    assert made["state"] == "active"
    assert made["expires_at"] is None
    assert authenticate_token(made["token"]).user_id == member.pk
    for path in ("tokens/", f"tokens/{made['id']}/"):
        text = as_member.get(path).content.decode()
        assert made["prefix"] in text
        assert made["token"].rpartition("_")[2] not in text
    assert not GatewayToken.objects.filter(digest__contains=made["token"]).exists()


def test_members_see_their_own_tokens_and_administrators_all(
    as_member, as_admin, member, admin
):
    mine, theirs = make(as_member), make(as_admin)
    listed = as_member.get("tokens/").json()
    assert {row["owner"]["username"] for row in listed["results"]} == {"mia"}
    everyone = as_admin.get("tokens/").json()["results"]
    assert {row["owner"]["username"] for row in everyone} == {"mia", "ada"}
    chosen = as_admin.get("tokens/", owner="mia").json()["results"]
    assert mine["id"] in {row["id"] for row in chosen}
    assert theirs["id"] not in {row["id"] for row in chosen}


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_token_of_somebody_else_is_404(as_member, as_admin, method):
    path = f"tokens/{make(as_admin)['id']}/"
    assert as_member.send(method, path, {"name": "mine"}).status_code == 404
    assert as_admin.get(path).json()["state"] == "active"


def test_revoked_token_lets_nobody_in_and_stays_in_the_list(as_member):
    made = make(as_member)
    assert as_member.delete(f"tokens/{made['id']}/").status_code == 204
    actors.forget()
    with pytest.raises(Unauthorized):
        authenticate_token(made["token"])
    row = as_member.get(f"tokens/{made['id']}/").json()
    assert row["state"] == "revoked"
    assert as_member.delete(f"tokens/{made['id']}/").status_code == 204
    assert AuditEvent.objects.filter(action="revoke").count() == 1


def test_administrator_revokes_and_makes_tokens_of_others(as_admin, as_member, member):
    theirs = make(as_member)
    assert as_admin.delete(f"tokens/{theirs['id']}/").status_code == 204
    made = make(as_admin, owner="mia")
    assert made["owner"]["username"] == "mia"
    event = AuditEvent.objects.filter(action="create").latest("id")
    assert event.actor_name == "ada"
    assert event.changes["owner"] == "mia"


def test_token_expires(as_member):
    at = (timezone.now() + timedelta(hours=1)).isoformat()
    made = make(as_member, expires_at=at)
    assert made["expires_at"] is not None
    GatewayToken.objects.filter(pk=made["id"]).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    assert as_member.get(f"tokens/{made['id']}/").json()["state"] == "expired"
    actors.forget()
    with pytest.raises(Unauthorized):
        authenticate_token(made["token"])


def test_token_is_renamed_and_given_an_end(as_member):
    path = f"tokens/{make(as_member)['id']}/"
    at = (timezone.now() + timedelta(days=1)).isoformat()
    answer = as_member.patch(path, {"name": "desktop", "expires_at": at})
    assert answer.json()["name"] == "desktop"
    assert answer.json()["expires_at"] is not None
    assert as_member.patch(path, {"expires_at": None}).json()["expires_at"] is None
    assert as_member.patch(path, {}).status_code == 400
    assert as_member.patch(path, {"owner": "ada"}).status_code == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": 5}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at"),
        ({"name": "x", "expires_at": 5}, "expires_at"),
        ({"name": "x", "owner": "ada"}, "owner"),
        ({"name": "x", "owner": "nobody"}, "owner"),
        ({"name": "x", "token": "aib_mine"}, "token"),
    ],
)
def test_token_that_cannot_be_is_refused(as_member, admin, body, field):
    answer = as_member.post("tokens/", body)
    assert answer.status_code == 400, answer.json()
    assert [each["field"] for each in answer.json()["validations"]] == [field]


def test_unknown_token_is_404(as_member):
    assert as_member.get(f"tokens/{uuid.uuid4()}/").status_code == 404


@pytest.mark.parametrize("more", [0, 5])
def test_list_takes_the_same_queries_however_long(
    as_admin, member, django_assert_num_queries, more
):
    for number in range(more):
        issue_token(member, f"token {number}")
    as_admin.get("tokens/")
    actors.forget()
    with django_assert_num_queries(6):
        as_admin.get("tokens/")

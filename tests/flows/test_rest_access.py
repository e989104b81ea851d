"""Who is let into the REST API: tokens, logins, and what each role may see."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from proxy.actors import actors, issue_token
from proxy.models import GatewayToken
from tests.interceptions.happenings import happen

LIST = "/api/aigateway/interceptions/"


def ask(token, **headers):
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return Client(raise_request_exception=False).get(LIST, headers=headers)


def test_no_credentials_are_401_with_a_challenge(db):
    answer = ask(None)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="AI Bridge"'
    assert answer.json() == {"message": "Authentication credentials were not provided."}


@pytest.mark.parametrize(
    "header",
    ["Basic YTpi", "Bearer", "Bearer x y", "Bearer aib_x_y", "aib_x_y", "\x00"],
)
def test_credentials_that_are_no_token_are_401(db, header):
    answer = ask(None, Authorization=header)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"]


def test_token_acts_with_its_owners_permissions(auditor, member):
    assert ask(issue_token(auditor, "t")[1]).status_code == 200
    assert ask(issue_token(member, "t")[1]).status_code == 403


def test_revoked_and_expired_tokens_are_401(auditor):
    past = timezone.now() - timedelta(seconds=1)
    for field in ("revoked_at", "expires_at"):
        row, raw = issue_token(auditor, field)
        assert ask(raw).status_code == 200
        GatewayToken.objects.filter(pk=row.pk).update(**{field: past})
        actors.forget()
        assert ask(raw).status_code == 401


def test_token_of_somebody_inactive_is_403(auditor):
    raw = issue_token(auditor, "t")[1]
    auditor.is_active = False
    auditor.save()
    actors.forget()
    answer = ask(raw)
    assert answer.status_code == 403
    assert answer.json() == {"message": "the token's owner is not active"}


def test_browser_login_lets_in_and_writes_need_its_csrf_token(auditor):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(auditor)
    assert browser.get(LIST).status_code == 200
    path, body = "/api/aigateway/tokens/", {"name": "laptop"}
    refused = browser.post(path, body, content_type="application/json")
    assert refused.status_code == 403
    assert "CSRF" in refused.json()["message"]
    browser.get("/admin/password_change/")
    token = browser.cookies["csrftoken"].value
    accepted = browser.post(
        path, body, content_type="application/json", headers={"X-CSRFToken": token}
    )
    assert accepted.status_code == 201


def test_members_read_nothing_unless_the_setting_lets_them(
    as_member, member, admin, settings
):
    mine, theirs = happen(member, session="mine"), happen(admin, session="theirs")
    assert as_member.get("interceptions/").status_code == 403
    assert as_member.get(f"interceptions/{mine.pk}/").status_code == 404
    settings.AIBRIDGE_MEMBERS_READ_OWN = True
    found = as_member.get("interceptions/").json()
    assert [row["id"] for row in found["results"]] == [str(mine.pk)]
    assert found["count"] == 1
    assert as_member.get(f"interceptions/{mine.pk}/").status_code == 200
    assert as_member.get(f"interceptions/{theirs.pk}/").status_code == 404
    assert as_member.get("sessions/mine/").status_code == 200
    assert as_member.get("sessions/theirs/").status_code == 404
    assert as_member.get("interceptions/", initiator="ada").json()["results"] == []
    assert as_member.get("models/").status_code == 403


def test_auditors_write_nothing_and_see_no_keys(as_auditor, as_admin):
    body = {"kind": "openai", "name": "main", "base_url": "https://api.openai.com/v1"}
    assert as_admin.post("providers/", body).status_code == 201
    assert as_auditor.post("providers/", body).status_code == 403
    for method, path in (
        ("GET", "providers/main/"),
        ("PATCH", "providers/main/"),
        ("DELETE", "providers/main/"),
        ("POST", "providers/main/restore/"),
        ("GET", "providers/main/keys/"),
        ("POST", "providers/main/keys/"),
    ):
        assert as_auditor.send(method, path, {}).status_code == 404, (method, path)


def test_superuser_needs_no_group_and_still_cannot_delete_an_interception(
    django_user_model, call_as, member
):
    api = call_as(django_user_model.objects.create_superuser("root"))
    row = happen(member)
    assert api.get("providers/").status_code == 200
    assert api.delete(f"interceptions/{row.pk}/").status_code == 405

"""The pages of tokens, and the one that tells how to connect."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from interceptions.models import Facet
from providers.models import AiProvider
from proxy import tokens
from proxy.actors import Actors
from proxy.models import GatewayToken
from tests.pages import *  # noqa: F403
from tests.people import *  # noqa: F403

TOKENS = "proxy/gatewaytoken/"
CONNECT = TOKENS + "connect/"
RAW = re.compile(r"aib_[0-9a-f]{8}_[\w-]{43}")

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def provider(db):
    return AiProvider.objects.create(name="main", kind="anthropic", base_url="")


# Tokens
def test_token_is_shown_once_inside_ready_made_settings(member_pages, member, provider):
    page = member_pages.post(TOKENS + "add/", name="laptop", lifetime="90")
    (raw,) = set(RAW.findall(page.html))
    assert f'ANTHROPIC_AUTH_TOKEN="{raw}"' in page.text
    assert "no-store" in page.answer.headers["Cache-Control"]
    assert Actors().authenticate(raw).username == "mia"
    row = GatewayToken.objects.get()
    for path in (
        TOKENS,
        CONNECT,
        f"{TOKENS}{row.pk}/change/",
        f"{TOKENS}{row.pk}/history/",
    ):
        assert raw not in member_pages.get(path).html


@pytest.mark.parametrize(("lifetime", "days"), [("30", 30), ("365", 365), ("", None)])
def test_token_lives_as_long_as_was_chosen(member_pages, lifetime, days):
    member_pages.post(TOKENS + "add/", name="laptop", lifetime=lifetime)
    expires_at = GatewayToken.objects.get().expires_at
    left = expires_at and round((expires_at - timezone.now()).total_seconds() / 86400)
    assert left == days


def test_token_needs_a_name(member_pages):
    page = member_pages.post(TOKENS + "add/", name=" ")
    assert "This field is required." in page.text
    assert not GatewayToken.objects.exists()


def test_member_gets_a_token_of_the_own_only(member_pages, admin, member):
    member_pages.post(TOKENS + "add/", name="laptop", owner="ada")
    assert GatewayToken.objects.get().owner == member


def test_administrator_makes_one_for_somebody_else(admin_pages, admin, member):
    admin_pages.post(TOKENS + "add/", name="ci", owner="mia")
    assert GatewayToken.objects.get().owner == member
    page = admin_pages.post(TOKENS + "add/", name="ci", owner="nobody")
    assert "No active user has this name." in page.text


def test_revoked_token_is_refused_and_stays_in_the_list(member_pages, member):
    row, raw = tokens.create(member, "laptop", None, actor=member)
    page = member_pages.post(f"{TOKENS}{row.pk}/revoke/")
    assert "Revoked" in page.text
    with pytest.raises(Exception, match="revoked"):
        Actors().authenticate(raw)
    assert "laptop" in member_pages.get(TOKENS, state="revoked").text
    assert "laptop" not in member_pages.get(TOKENS, state="active").answer.context[
        "cl"
    ].result_list.values_list("name", flat=True)


def test_member_neither_sees_nor_revokes_the_tokens_of_others(member_pages, admin):
    row, _ = tokens.create(admin, "secret-plan", None, actor=admin)
    assert "secret-plan" not in member_pages.get(TOKENS).text
    for path in ("change/", "history/"):
        page = member_pages.get(f"{TOKENS}{row.pk}/{path}")
        assert "secret-plan" not in page.text
        assert page.status in (302, 404)
    assert member_pages.post(f"{TOKENS}{row.pk}/revoke/").status == 404
    member_pages.post(TOKENS, action="revoke", _selected_action=str(row.pk))
    row.refresh_from_db()
    assert row.revoked_at is None


def test_administrator_sees_and_revokes_everybodys(admin_pages, member):
    row, _ = tokens.create(member, "laptop", None, actor=member)
    assert "mia" in admin_pages.get(TOKENS).text
    admin_pages.post(TOKENS, action="revoke", _selected_action=str(row.pk))
    row.refresh_from_db()
    assert row.revoked_at is not None


def test_tokens_cannot_be_deleted(admin_pages, member):
    row, _ = tokens.create(member, "laptop", None, actor=member)
    assert admin_pages.post(f"{TOKENS}{row.pk}/delete/", post="yes").status == 403
    admin_pages.post(TOKENS, action="delete_selected", _selected_action=str(row.pk))
    assert GatewayToken.objects.exists()


# Connecting
def test_member_lands_on_how_to_connect(member_pages, provider):
    page = member_pages.get("")
    assert page.answer["Location"] == f"/admin/{CONNECT}"
    page = member_pages.get(CONNECT)
    assert "/aibridge/main" in page.text
    assert "Claude Code" in page.text


def test_settings_name_a_model_that_was_seen_here(member_pages, provider):
    Facet.objects.create(kind="model", value="claude-of-today-7")
    assert "claude-of-today-7" in member_pages.get(CONNECT).text


def test_disabled_and_deleted_providers_are_not_offered(member_pages, provider):
    AiProvider.objects.create(name="off", kind="openai", enabled=False)
    AiProvider.objects.create(name="gone", kind="openai", deleted_at=timezone.now())
    text = member_pages.get(CONNECT).text
    assert "/aibridge/main" in text
    assert "/aibridge/off" not in text
    assert "/aibridge/gone" not in text


def test_without_a_provider_everybody_is_told_who_can_help(member_pages, admin_pages):
    assert "An administrator has to add one" in member_pages.get(CONNECT).text
    assert "Add provider" in admin_pages.get(CONNECT).text

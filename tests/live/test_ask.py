"""``manage.py ask`` goes through the running gateway as the vendors' clients do."""

from __future__ import annotations

import pytest
from django.core.management.base import CommandError

from interceptions.models import Interception
from proxy.models import GatewayToken
from tests.commands import run
from tests.live.gateway import Gateway
from tests.postgres import free_port

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def public_url(gateway: Gateway, settings) -> None:
    settings.AIBRIDGE_PUBLIC_URL = gateway.url


@pytest.mark.parametrize(
    ("kind", "api", "dialect"),
    [
        ("anthropic", "messages", "anthropic_messages"),
        ("openai", "chat", "openai_chat"),
        ("openai", "responses", "openai_responses"),
    ],
)
def test_answer_is_printed_and_recorded(served, token, kind, api, dialect):
    provider = served(kind)
    words = ["--provider", provider.name, "--api", api, "--token", token]
    assert run("ask", "What is up?", *words) != ""
    row = Interception.objects.get(provider=provider)
    assert (row.dialect, row.streaming, row.outcome) == (dialect, True, "completed")
    assert row.prompts.get().prompt == "What is up?"


def test_api_follows_from_the_provider_when_it_is_not_named(served, token):
    provider = served("openai")
    run("ask", "Hello", "--provider", provider.name, "--token", token)
    assert Interception.objects.get(provider=provider).dialect == "openai_chat"


def test_without_a_token_one_is_made_for_an_administrator_and_revoked(
    served, make_user
):
    make_user("Administrators")
    provider = served("anthropic")
    run("ask", "Hello", "--provider", provider.name)
    row = GatewayToken.objects.filter(name="manage.py ask").latest("created_at")
    assert row.revoked_at is not None
    assert Interception.objects.get(provider=provider).token_id == row.pk


def test_refusal_is_one_line_with_its_status(served):
    provider = served("anthropic")
    with pytest.raises(CommandError, match="answered 401: .*unknown"):
        run("ask", "Hello", "--provider", provider.name, "--token", "aib_00_nothing")


def test_gateway_that_does_not_run_is_said_so(served, token, settings):
    provider = served("openai")
    settings.AIBRIDGE_PUBLIC_URL = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(CommandError, match="is the gateway running"):
        run("ask", "Hello", "--provider", provider.name, "--token", token)


def test_provider_that_does_not_speak_the_api_is_said_so(served, token):
    provider = served("anthropic")
    with pytest.raises(CommandError, match="speaks responses"):
        run("ask", "x", "--provider", provider.name, "--api", "responses")

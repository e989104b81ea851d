"""The first page: what it tells, to whom, and where each number leads."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from aibridge_site.dashboard import concerns
from interceptions.models import Worker
from providers import keystate
from providers.health import provider_health
from providers.models import AiProvider, ApiKey
from proxy import tokens
from tests.interceptions.happenings import happen
from tests.interceptions.rows import attempt_facts

pytestmark = pytest.mark.django_db


def make_provider(name, *secrets, **fields):
    values = {"kind": "anthropic", "base_url": "https://api.anthropic.com"} | fields
    provider = AiProvider.objects.create(name=name, **values)
    for secret in secrets:
        keystate.add_key(provider, secret)
    return provider


def told():
    now = timezone.now()
    return [concern.text for concern in concerns(provider_health(now), now)]


def listed(pages, link):
    """Return how many rows the list behind a link shows."""
    return len(pages.get(link).answer.context["list"].rows)


def test_every_key_is_shown_with_state_reason_and_load(admin_pages, admin):
    provider = make_provider("main", "sk-first-key", "sk-second-key")
    first, second = provider.keys.all()
    now = timezone.now()
    ApiKey.objects.filter(pk=first.pk).update(
        cooldown_until=now + timedelta(minutes=3), reason="quota", last_status=429
    )
    ApiKey.objects.filter(pk=second.pk).update(
        retired_at=now, reason="unauthorized", last_error="invalid x-api-key"
    )
    facts = {"provider_id": provider.pk, "provider_name": "main"}
    tries = [
        attempt_facts(key_id=first.pk, status=429, outcome="rate_limited"),
        attempt_facts(key_id=second.pk),
    ]
    happen(admin, attempts=tries, **facts)
    happen(admin, error=("overloaded", "busy"), attempts=tries[:1], **facts)
    text = admin_pages.get("").text
    for shown in ("Resting", "Out of quota (429)", "Retired", "invalid x-api-key"):
        assert shown in text
    assert "2 requests 1 failed 0/2 keys healthy" in text
    assert re.search(r"sk-f\.\.\.-key 2 · 2|sk...ey 2 · 2", text)


def test_each_number_leads_to_the_list_behind_it(admin_pages, admin):
    provider = make_provider("main", "sk-one")
    facts = {"provider_id": provider.pk, "provider_name": "main"}
    for number in range(5):
        error = ("timeout", "late") if number < 2 else None
        happen(admin, session=f"s-{number}", error=error, **facts)
    page = admin_pages.get("")
    links = [
        link for link in page.links if link.startswith("/admin/interceptions/interc")
    ]
    by_query = {frozenset(parse_qs(urlsplit(x).query)): x for x in links}
    expected = {
        frozenset({"since"}): 5,
        frozenset({"since", "outcome"}): 0,
        frozenset({"since", "error_type"}): 2,
        frozenset({"since", "provider_id"}): 5,
        frozenset({"since", "provider_id", "outcome"}): 2,
        frozenset({"started_after", "started_before"}): 5,
    }
    for names, count in expected.items():
        if names != {"since", "outcome"}:
            assert listed(admin_pages, by_query[names]) == count, names
    failed = next(x for x in links if "since=24h&outcome=failed" in x)
    assert listed(admin_pages, failed) == 2


def test_every_link_of_the_page_leads_somewhere(admin_pages, admin):
    make_provider("main", "sk-one")
    happen(admin, error=("timeout", "late"))
    ApiKey.objects.update(retired_at=timezone.now())
    page = admin_pages.get("")
    broken = {
        link: status
        for link in set(page.links)
        if "logout" not in link and (status := admin_pages.get(link).status) != 200
    }
    assert broken == {}


def test_concerns_name_what_needs_a_hand(admin):
    now = timezone.now()
    make_provider("fine", "sk-fine")
    make_provider("bare")
    make_provider("dumping", "sk-dump", api_dump=True)
    down = make_provider("down", "sk-down")
    ApiKey.objects.filter(provider=down).update(retired_at=now)
    tokens.create(admin, "old laptop", now + timedelta(days=3), actor=admin)
    Worker.objects.create(
        node="gw", pid=1, started_at=now, beat_at=now, journal_records=4
    )
    assert set(told()) == {
        "bare has no key to use",
        "down has no key in service",
        "down has 1 retired key",
        "dumping writes request dumps with unredacted bodies",
        "1 token expires within 7 days",
        "4 records wait in a local journal",
    }


def test_disabled_provider_and_revoked_token_are_no_concern(admin):
    make_provider("off", enabled=False)
    soon = timezone.now() + timedelta(days=1)
    row, _ = tokens.create(admin, "laptop", soon, actor=admin)
    tokens.revoke(row, actor=admin)
    assert told() == []


def test_new_installation_is_shown_the_first_steps(admin_pages):
    page = admin_pages.get("")
    assert "Three steps to the first answer" in page.text
    assert "/admin/providers/aiprovider/add/" in page.links
    make_provider("main")
    assert "Three steps" not in admin_pages.get("").text


@pytest.mark.parametrize(("stretch", "seen"), [("1h", 1), ("24h", 2), ("7d", 3)])
def test_stretch_of_time_can_be_chosen(admin_pages, admin, stretch, seen):
    for age in (timedelta(0), timedelta(hours=7), timedelta(days=3)):
        row = happen(admin, session=str(age))
        type(row).objects.filter(pk=row.pk).update(started_at=datetime.now(UTC) - age)
    page = admin_pages.get("", range=stretch)
    assert f"{seen} request{'' if seen == 1 else 's'} " in page.text
    assert sum("started_after=" in x for x in page.links) // 2 == seen


def test_unknown_stretch_of_time_is_the_usual_one(admin_pages):
    page = admin_pages.get("", range="nonsense")
    assert page.answer.context["stretch"].name == "24h"


def test_auditor_sees_traffic_and_nothing_of_keys(auditor_pages, member):
    make_provider("main", "sk-one")
    happen(member, error=("timeout", "no byte for 300 s"))
    page = auditor_pages.get("")
    assert "no byte for 300 s" in page.text
    assert "Providers and keys" not in page.text
    assert "/admin/providers/" not in page.html


def test_member_with_own_traffic_sees_that_alone(
    member_pages, member, auditor, settings
):
    settings.AIBRIDGE_MEMBERS_READ_OWN = True
    happen(member, error=("timeout", "mine was late"))
    happen(auditor, error=("timeout", "theirs was late"))
    text = member_pages.get("").text
    assert "Your traffic" in text
    assert "mine was late" in text
    assert "theirs was late" not in text


def test_nobody_sees_the_login(pages_as):
    answer = pages_as(None).get("").answer
    assert (answer.status_code, answer["Location"]) == (
        302,
        "/admin/login/?next=/admin/",
    )


def test_page_costs_a_fixed_number_of_queries(
    admin_pages, admin, django_assert_max_num_queries
):
    for number in range(8):
        make_provider(f"p-{number}", f"sk-{number}-a", f"sk-{number}-b")
        happen(admin, session=f"s-{number}", error=("timeout", "late"))
    with django_assert_max_num_queries(18):
        admin_pages.get("")

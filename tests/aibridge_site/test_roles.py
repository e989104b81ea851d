"""Whoever follows links from the first page never meets a closed door."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from providers import keystate
from providers.models import AiProvider
from proxy import tokens
from tests.interceptions.happenings import happen, turn_of

pytestmark = [pytest.mark.django_db, pytest.mark.once]

_MOST_OF_A_SHAPE = 2


def shape(url):
    """Return what is the same for pages that differ by their rows only."""
    url = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", url)
    return re.sub(r"=[^&]*", "=", re.sub(r"/\d+/", "/<n>/", url))


def walk(pages, start="/admin/"):
    """Follow every link; return the status of each page."""
    seen, met, todo = {}, {}, [start]
    while todo:
        url = todo.pop()
        met[shape(url)] = met.get(shape(url), 0) + 1
        if url in seen or met[shape(url)] > _MOST_OF_A_SHAPE or "logout" in url:
            continue
        page = pages.get(url)
        seen[url] = page.status
        if page.status == 302:
            todo.append(page.answer["Location"])
        todo += page.links
    return seen


@pytest.mark.parametrize("who", ["admin", "auditor", "member"])
def test_no_link_is_dead_or_forbidden(request, who, pages_as, admin, member):
    provider = AiProvider.objects.create(
        name="main", kind="anthropic", base_url="https://api.anthropic.com"
    )
    key = keystate.add_key(provider, "sk-one")
    facts = {"provider_id": provider.pk, "provider_name": "main"}
    happen(member, turns=[turn_of("t-1", thought="hm")], **facts)
    happen(member, error=("timeout", "late"), **facts)
    happen(admin, session="other", **facts)
    soon = timezone.now() + timedelta(days=2)
    for user in (admin, member):
        tokens.create(user, "laptop", soon, actor=user)
    seen = walk(pages_as(request.getfixturevalue(who)))
    refused = {url: s for url, s in seen.items() if s not in (200, 302)}
    assert refused == {}
    expected = {"admin": 60, "auditor": 20, "member": 5}[who]
    assert len(seen) >= expected
    assert any(str(key.pk) in url for url in seen) is (who == "admin")

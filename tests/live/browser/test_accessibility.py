"""No page has a serious barrier, by the rules of axe-core, in any theme and width."""

from __future__ import annotations

import pytest
from django.utils import timezone

from aibridge_site.problems import server_error
from interceptions.models import Session
from proxy.actors import issue_token
from tests.live.apis import MESSAGES

axe = pytest.importorskip("axe_playwright_python.sync_playwright")

# The rules that passed need not be told with every element they looked at.
ONLY = {"resultTypes": ["violations"]}

pytestmark = [pytest.mark.live, pytest.mark.browser, pytest.mark.timeout(400)]


@pytest.fixture
def paths(gateway, served, upstream, make_user, token):
    """Make something of everything; return the pages that show it."""
    provider = served("anthropic", ("key-a", "key-b"))
    upstream.script("key-a", 429, {"retry-after": "600"})
    headers = {"x-claude-code-session-id": provider.name, "user-agent": "claude-cli/2"}
    for status in (200, 500):
        upstream.script("key-b", status)
        MESSAGES.call(gateway.url, provider.name, token, headers=headers)
    session = Session.objects.get(session_id=provider.name)
    key = provider.keys.first()
    row = session.initiator.interceptions.latest("id")
    mine, _ = issue_token(make_user(), "laptop", timezone.now())
    admin = "/admin/"
    return [
        admin,
        f"{admin}interceptions/interception/",
        f"{admin}interceptions/interception/{row.pk}/change/",
        f"{admin}interceptions/interception/?model=nothing-like-this",
        f"{admin}interceptions/interception/?initiator=nobody-like-this",
        f"{admin}interceptions/session/",
        f"{admin}interceptions/session/{session.pk}/change/",
        f"{admin}interceptions/worker/",
        f"{admin}providers/aiprovider/",
        f"{admin}providers/aiprovider/add/",
        f"{admin}providers/aiprovider/{provider.pk}/change/",
        f"{admin}providers/aiprovider/{provider.pk}/history/",
        f"{admin}providers/apikey/",
        f"{admin}providers/apikey/{key.pk}/change/",
        f"{admin}providers/auditevent/",
        f"{admin}proxy/gatewaytoken/",
        f"{admin}proxy/gatewaytoken/connect/",
        f"{admin}proxy/gatewaytoken/{mine.pk}/change/",
        f"{admin}proxy/mcpserver/",
        f"{admin}proxy/mcpserver/add/",
        f"{admin}auth/user/",
        f"{admin}auth/user/add/",
        f"{admin}auth/user/{mine.owner_id}/change/",
        f"{admin}password_change/",
    ]


def barriers(page) -> list[str]:
    found = axe.Axe().run(page, options=ONLY).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]}"
        for rule in found
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
    ]


# What depends on the theme is colour, and what depends on the width is layout: each is
# seen both ways. The theme is chosen when a page loads.
@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_no_page_has_a_serious_barrier(open_browser, paths, theme, width):
    options = {"color_scheme": theme, "viewport": {"width": width, "height": 900}}
    page = open_browser("admin", **options)
    found = {}
    for path in paths:
        page.goto(path)
        here = barriers(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            here.append(f"{wide} px wide")
        if here:
            found[path] = here
    assert found == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_error_has_no_serious_barrier(open_browser, rf, theme):
    page = open_browser(None, color_scheme=theme)
    # A browser would complain of the status, which is no barrier.
    page.set_content(server_error(rf.get("/admin/")).content.decode())
    assert barriers(page) == []


def test_login_has_no_serious_barrier(open_browser):
    page = open_browser(None)
    page.goto("/admin/login/")
    assert barriers(page) == []

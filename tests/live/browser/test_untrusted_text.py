"""Recorded and typed text is shown and never acts, in a real browser."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from interceptions.models import (
    Attempt,
    Facet,
    Interception,
    ModelThought,
    Session,
    TokenUsage,
    ToolUsage,
    UserPrompt,
)
from providers import keystate
from providers.ids import new_id
from providers.models import AiProvider, ApiKey
from proxy.actors import issue_token

pytestmark = [pytest.mark.live, pytest.mark.browser, pytest.mark.timeout(400)]

RUN = "window.__ran=(window.__ran||0)+1"
CORPUS = [
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"</pre></td></table><img src=x onerror={RUN}>",
    f"'\"><svg onload={RUN}>",
    f"<body onload={RUN}><iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"\"><div x-data x-init='{RUN}'></div>",
    f"' x-init='{RUN}",
    f'" autofocus onfocus="{RUN}',
    f"<details open ontoggle={RUN}><summary>x</summary></details>",
    f"<a href='javascript:{RUN}'>click</a>",
    f"javascript:{RUN}",
    f"{{{{ constructor.constructor('{RUN}')() }}}} ${{{RUN}}} {{% debug %}}",
    f"</textarea></title></style><script>{RUN}</script>",
    f"<template><script>{RUN}</script></template>",
    f"<math><mtext></form><form><mglyph><style></math><img src onerror={RUN}>",
    f"]]>--><!--><script>{RUN}</script>",
    f"data:text/html,<script>{RUN}</script>",
    "\u202egnp.exe \u2066hidden\u2069 \x1b[2J\x1b]0;title\x07 \x08\x08 \u0000".replace(
        "\u0000", ""
    ),
    "</template><style>*{display:none}</style><base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<link rel=stylesheet href=https://evil.example/x.css><form action=//evil.example>",
]
EVERYTHING = " ".join(CORPUS)


def cut(length: int, text: str = EVERYTHING) -> str:
    return text[:length]


@pytest.fixture
def hostile(make_user):
    """Store rows in which every text that comes from outside is hostile."""
    user = make_user()
    user.first_name = cut(150)
    user.save()
    provider = AiProvider.objects.create(
        name=f"hostile-{user.pk}",
        display_name=cut(100),
        kind="anthropic",
        base_url="https://api.anthropic.com",
    )
    key = keystate.add_key(provider, "sk-hostile", cut(100, CORPUS[3]))
    ApiKey.objects.filter(pk=key.pk).update(
        last_error=cut(255), last_status=401, retired_at=datetime.now(UTC)
    )
    token, _ = issue_token(user, cut(100, CORPUS[5]))
    session_id = cut(256)
    rows = []
    for number, text in enumerate(CORPUS):
        now = datetime.now(UTC)
        row = Interception.objects.create(
            initiator=user,
            token=token,
            provider=provider,
            provider_name=cut(100, text),
            provider_kind="anthropic",
            dialect="anthropic_messages",
            route=cut(100, text),
            model=cut(200, text),
            client=cut(64, text),
            user_agent=cut(512),
            session_id=session_id,
            thread_id=(rows[0].pk if number > 12 else new_id()) if rows else new_id(),
            credential_hint="sk...le",
            started_at=now,
            ended_at=now,
            error_type="server_error",
            error_message=cut(1024, text),
            response_id=cut(256, text),
            stop_reason=cut(64, text),
            metadata={text: text},
        )
        Interception.objects.filter(pk=row.pk).update(
            thread_id=rows[0].pk if number > 12 else row.pk
        )
        rows.append(row)
        UserPrompt.objects.create(interception=row, prompt=text + EVERYTHING)
        ModelThought.objects.create(interception=row, source="thinking", content=text)
        ToolUsage.objects.create(
            interception=row,
            tool=cut(256, text),
            input=json.dumps({text: text}) if number % 2 else text,
            server_name=cut(100, text),
            server_url=cut(500, text),
            injected=True,
            invocation_error=text,
        )
        TokenUsage.objects.create(interception=row, extra={text: 1})
        Attempt.objects.create(
            interception=row,
            key=key,
            key_hint="sk...le",
            position=0,
            outcome="unauthorized",
            status=401,
            detail=cut(255, text),
            upstream_request_id=cut(128, text),
            started_at=now,
        )
        Facet.objects.get_or_create(kind="model", value=cut(200, text))
        Facet.objects.get_or_create(kind="client", value=cut(64, text))
    session = Session.objects.create(
        initiator=user,
        session_id=session_id,
        client=cut(64),
        user_agent=cut(512),
        provider_names=CORPUS,
        model_names=CORPUS,
        started_at=rows[0].started_at,
        last_active_at=rows[-1].started_at,
        last_prompt=cut(500),
    )
    yield {
        "user": user,
        "provider": provider,
        "key": key,
        "token": token,
        "rows": rows,
        "session": session,
    }
    Facet.objects.filter(value__contains="window.__ran").delete()
    Interception.objects.filter(initiator=user).delete()
    AiProvider.all_objects.filter(pk=provider.pk).update(deleted_at=datetime.now(UTC))


def assert_nothing_ran(page: Page) -> None:
    """Look at the page as it is, and after everything on it was opened."""
    page.wait_for_load_state()
    page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
    page.wait_for_timeout(150)
    assert page.evaluate("window.__ran") is None, page.url
    foreign = page.evaluate(
        """() => [...document.querySelectorAll(
            "iframe, object, embed, base, meta[http-equiv=refresh], svg[onload], "
            + "[onerror], [onload], [onfocus], [ontoggle], a[href^='javascript:'], "
            + "#content script:not([src]):not([type='application/json'])"
        )].map((e) => e.outerHTML.slice(0, 200))"""
    )
    assert foreign == [], page.url
    host = page.evaluate("new URL(document.baseURI).hostname")
    assert host == "127.0.0.1"


def test_no_recorded_text_acts_on_any_page(open_browser, hostile):
    page = open_browser("admin")
    provider, key, token = hostile["provider"], hostile["key"], hostile["token"]
    paths = [
        "/admin/",
        "/admin/interceptions/interception/",
        *(
            f"/admin/interceptions/interception/{row.pk}/change/"
            for row in hostile["rows"]
        ),
        "/admin/interceptions/session/",
        f"/admin/interceptions/session/{hostile['session'].pk}/change/",
        "/admin/providers/aiprovider/",
        f"/admin/providers/aiprovider/{provider.pk}/change/",
        f"/admin/providers/aiprovider/{provider.pk}/history/",
        "/admin/providers/apikey/",
        f"/admin/providers/apikey/{key.pk}/change/",
        "/admin/proxy/gatewaytoken/",
        f"/admin/proxy/gatewaytoken/{token.pk}/change/",
        "/admin/proxy/gatewaytoken/connect/",
        "/admin/auth/user/",
        f"/admin/auth/user/{hostile['user'].pk}/change/",
        "/admin/providers/auditevent/",
    ]
    for path in paths:
        page.goto(path)
        assert_nothing_ran(page)


def test_nothing_in_an_address_acts(open_browser):
    page = open_browser("admin")
    names = ("q", "model", "prompt", "initiator", "since", "older", "nonsense")
    for number, text in enumerate([*CORPUS, *[EVERYTHING] * len(names)]):
        name = names[number % len(names)]
        page.goto(f"/admin/interceptions/interception/?{name}={quote(text)}")
        assert_nothing_ran(page)
    for path in ("?range", "providers/aiprovider/?q", "interceptions/session/?model"):
        page.goto(f"/admin/{path}={quote(EVERYTHING)}")
        assert_nothing_ran(page)


def test_parts_that_load_later_do_not_act_either(open_browser, hostile):
    page = open_browser("auditor")
    session = hostile["session"]
    page.goto(f"/admin/interceptions/session/{session.pk}/change/")
    for text in ("script", "onerror", "evil.example"):
        page.get_by_placeholder("Find in this session").fill(text)
        page.get_by_role("button", name="Find", exact=True).click()
        expect(page.locator(".ab-matches li").first).to_be_visible()
        assert_nothing_ran(page)
    page.mouse.wheel(0, 100_000)
    page.wait_for_timeout(500)
    for link in page.get_by_role("link", name="Show all").all()[:5]:
        link.click()
    page.wait_for_timeout(500)
    assert_nothing_ran(page)


def test_hostile_label_survives_being_edited(open_browser, hostile):
    page = open_browser("admin")
    path = f"/admin/providers/apikey/{hostile['key'].pk}/change/"
    page.goto(path)
    for text in CORPUS[:6]:
        page.get_by_label("For people, for example the account").fill(text[:100])
        page.get_by_role("button", name="Save label").click()
        page.get_by_role("button", name="Disable").click()
        assert_nothing_ran(page)
        page.get_by_role("button", name="Enable").click()
    page.goto(f"/admin/providers/apikey/{hostile['key'].pk}/history/")
    assert_nothing_ran(page)


def test_ten_megabytes_are_shown_in_part_and_whole_on_demand(open_browser, hostile):
    row = hostile["rows"][0]
    size = 10 * 1024 * 1024
    text = "<b>" + "0123456789abcdef" * ((size - 6) // 16) + "</b>"
    ToolUsage.objects.create(interception=row, tool="Read", input=text)
    page = open_browser("auditor")
    answer = page.goto(f"/admin/interceptions/interception/{row.pk}/change/")
    assert len(answer.body()) < 400_000
    holder = page.locator(".ab-text").filter(has_text=f"{len(text) / 1e6:.1f}M")
    holder.get_by_role("link", name="Show all").click()
    whole = page.locator(".ab-whole")
    expect(whole).to_be_visible(timeout=20_000)
    assert whole.evaluate("(e) => e.textContent.length") == len(text)
    assert whole.evaluate("(e) => e.querySelectorAll(':not(pre)').length") == 0

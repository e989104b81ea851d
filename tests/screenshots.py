"""Takes the pictures of docs/screenshots: every page, two widths, light and dark.

    python -m tests.screenshots [name ...]

Needs Chromium and PostgreSQL. The data is made up (``seed_demo``) and ends at a fixed
age, so that pictures differ only where pages do.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from django.utils import timezone
from playwright.sync_api import Browser, Page, sync_playwright

from tests.postgres import Cluster

TARGET = Path(__file__).resolve().parent.parent / "docs" / "screenshots"
SIZES = {1440: 900, 390: 844}
THEMES = ("light", "dark")
PASSWORD = "a-good-long-password"
USERNAME = "demo-admin"


def main() -> None:
    cluster = Cluster().start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            _run(cluster.create("screenshots"), Path(directory))
    finally:
        cluster.destroy()


def _run(url: str, directory: Path) -> None:
    os.environ.update(
        DJANGO_SETTINGS_MODULE="aibridge_site.settings",
        DATABASE_URL=url,
        AIBRIDGE_DATA_DIR=str(directory),
        # Playwright runs a loop in this thread, which Django takes for asynchronous.
        DJANGO_ALLOW_ASYNC_UNSAFE="1",
        DEBUG="True",
    )
    django.setup()
    from django.conf import settings

    from tests.live.gateway import Gateway

    _fill()
    shared = {
        "AIBRIDGE_ENCRYPTION_KEYS": ",".join(settings.AIBRIDGE_ENCRYPTION_KEYS),
        "SECRET_KEY": settings.SECRET_KEY,
    }
    with (
        Gateway(url, directory, **shared) as gateway,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        _shoot_all(browser, gateway.url)
        browser.close()


def _fill() -> None:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("seed_demo", interceptions=4000, days=3, verbosity=0)
    user = get_user_model().objects.get(username=USERNAME)
    user.set_password(PASSWORD)
    user.save()
    _administer(user)


def _administer(admin: Any) -> None:
    """Change this and that, so that the audit log has something to tell."""
    from providers import upkeep
    from providers.models import AiProvider, AuditEvent
    from proxy import tokens

    provider = AiProvider.objects.get(name="demo-openai")
    (key,) = upkeep.add_keys(provider, [("sk-made-up-one", "spare")], actor=admin)
    upkeep.relabel(key, "spare, research", actor=admin)
    upkeep.move_key(key, -1, actor=admin)
    upkeep.rotate(key, "sk-made-up-two", actor=admin)
    upkeep.delete_key(key, actor=admin)
    owner = type(admin).objects.get(username="demo-auditor")
    token, _ = tokens.create(owner, "build server", None, actor=admin)
    tokens.revoke(token, actor=admin)
    for hours, event in enumerate(AuditEvent.objects.order_by("-id"), 2):
        event.at = timezone.now() - timedelta(hours=hours)
        event.save()


def _paths() -> dict[str, str]:
    from django.db.models import Count

    from interceptions.models import Interception, Session
    from providers.models import AiProvider, ApiKey
    from proxy.models import GatewayToken

    rows = Interception.objects.annotate(tries=Count("attempts", distinct=True))
    told = rows.filter(tries__gt=1, outcome="completed", tool_calls__gt=0)
    failed = rows.filter(outcome="failed", error_type="rate_limited")
    session = Session.objects.filter(
        threads__gt=1, failures__gt=0, interceptions__lt=15
    ).latest("last_active_at")
    provider = AiProvider.objects.get(name="demo-anthropic-us")
    key = ApiKey.objects.exclude(retired_at=None).latest("id")
    token = GatewayToken.objects.filter(owner__username=USERNAME).latest("id")
    changed = {
        "interception": told.latest("id"),
        "interception-failed": failed.latest("id"),
        "session": session,
        "provider": provider,
        "key": key,
        "token": token,
    }
    return {
        "overview": "",
        "interceptions": "interceptions/interception/",
        "interceptions-empty": "interceptions/interception/?model=nothing-like-this",
        "sessions": "interceptions/session/",
        "providers": "providers/aiprovider/",
        "provider-add": "providers/aiprovider/add/",
        "keys": "providers/apikey/",
        "tokens": "proxy/gatewaytoken/",
        "connect": "proxy/gatewaytoken/connect/",
        "mcp-add": "proxy/mcpserver/add/",
        "audit": "providers/auditevent/",
        "users": "auth/user/",
        **{name: _change(row) for name, row in changed.items()},
    }


def _change(row: Any) -> str:
    return f"{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change/"


def _shoot_all(browser: Browser, base_url: str) -> None:
    wanted = set(sys.argv[1:])
    paths = {n: p for n, p in _paths().items() if not wanted or n in wanted}
    TARGET.mkdir(exist_ok=True)
    for label, page in _pages(browser, base_url):
        page.goto("/admin/login/")
        if not wanted:
            page.screenshot(path=TARGET / f"login-{label}.png")
        page.get_by_label("Username").fill(USERNAME)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(lambda url: "/login/" not in url)
        for name, path in paths.items():
            page.goto(f"/admin/{path}")
            # Charts are drawn after the page has loaded.
            page.wait_for_timeout(700)
            page.screenshot(path=TARGET / f"{name}-{label}.png")
        page.context.close()


def _pages(browser: Browser, base_url: str) -> Iterator[tuple[str, Page]]:
    for width, height in SIZES.items():
        for theme in THEMES:
            context = browser.new_context(
                base_url=base_url,
                viewport={"width": width, "height": height},
                color_scheme=theme,
                reduced_motion="reduce",
            )
            yield f"{width}-{theme}", context.new_page()


if __name__ == "__main__":
    main()

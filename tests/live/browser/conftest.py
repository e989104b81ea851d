"""A real Chromium in front of a real gateway.

Every page a test opens is watched: an error in the console, a script error, a request
to another host or an answer of 500 fails the test.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.live.conftest import database_url
from tests.live.gateway import ROOT, Gateway
from tests.postgres import free_port

ROLES = {"admin": "Administrators", "auditor": "Auditors", "member": ""}


def chromium() -> str | None:
    """Return the browser to drive, None for the one Playwright installed itself."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, names)), None
    )
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium once; skip where there is none."""
    # Playwright runs a loop in this thread, which Django takes for asynchronous code.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        path = chromium() or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no Chromium here; set CHROMIUM to its path")
        arguments = ["--disable-gpu"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        chrome = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chrome
        chrome.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def collected() -> Path:
    """Collect static files once for all processes of this test run."""
    target = settings.STATIC_ROOT.with_name("collected")
    command = [sys.executable, "manage.py", "collectstatic", "--no-input", "-v0"]
    environment = os.environ | {"DEBUG": "False", "AIBRIDGE_STATIC_ROOT": str(target)}
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
    return target


@pytest.fixture(scope="session")
def shared_gateway(
    live_database: str,
    data_dir: Path,
    secrets_of_servers: dict[str, str],
    collected: Path,
) -> Iterator[Gateway]:
    """Start a node as it is installed: a browser keeps the files of its pages."""
    options = {"DEBUG": False, "AIBRIDGE_STATIC_ROOT": collected}
    url = database_url(live_database)
    with Gateway(
        url, data_dir, port=free_port(), **(secrets_of_servers | options)
    ) as node:
        yield node


class Watch:
    """Notes what must not happen on any page of a context."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.problems: list[str] = []
        self._origin = urlsplit(origin).netloc
        context.on("page", self._follow)
        context.on("request", self._request)
        context.on("response", self._response)

    def _follow(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        page.on("dialog", self._dialog)

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"console: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        if dialog.type == "confirm":
            dialog.accept()
        else:
            self.problems.append(f"dialog: {dialog.message}")
            dialog.dismiss()

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws"} and parts.netloc != self._origin:
            self.problems.append(f"request to another host: {request.url}")

    def _response(self, response: Any) -> None:
        if response.status >= 500:
            self.problems.append(f"{response.status}: {response.url}")


@pytest.fixture
def open_browser(
    browser: Browser, gateway: Gateway, make_user: Callable[..., Any]
) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a tab, logged in when a role is named.

    ``page.person`` is then the user. Options are those of a browser context.
    """
    contexts: list[tuple[BrowserContext, Watch]] = []

    def start(role: str | None = "admin", **options: Any) -> Page:
        settings = {
            "base_url": gateway.url,
            "viewport": {"width": 1440, "height": 900},
            "timezone_id": "Europe/Berlin",
            "permissions": ["clipboard-read", "clipboard-write"],
        } | options
        context = browser.new_context(**settings)
        context.set_default_timeout(15_000)
        contexts.append((context, Watch(context, gateway.url)))
        page = context.new_page()
        if role is not None:
            page.person = make_user(ROLES[role])
            context.add_cookies([session_of(page.person, gateway.url)])
        return page

    yield start
    problems = [problem for _, watch in contexts for problem in watch.problems]
    for context, _ in contexts:
        context.close()
    assert problems == []


def session_of(user: Any, url: str) -> Any:
    """Return the cookie of a new session; passwords and their form take a second."""
    browser = Client()
    browser.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": browser.cookies[name].value, "url": url}

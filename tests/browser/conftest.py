"""A real Chromium in front of a real gateway.

Every page a test opens is watched: an error in the console, a script error, a request
to another host or an answer of 500 fails the test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.live.conftest import *  # noqa: F403
from tests.live.gateway import Gateway

PASSWORD = "a-good-long-password"
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
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chrome = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chrome
        chrome.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


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
    """Return a function that opens a page, logged in when a role is named.

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
            page.person = make_user(ROLES[role], password=PASSWORD)
            log_in(page, page.person.username)
        return page

    yield start
    problems = [problem for _, watch in contexts for problem in watch.problems]
    for context, _ in contexts:
        context.close()
    assert problems == []


def log_in(page: Page, username: str, password: str = PASSWORD) -> None:
    """Log in by the form."""
    page.goto("/admin/login/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(lambda url: "/login/" not in url)

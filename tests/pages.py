"""The browser's pages as a logged-in person gets them, without a browser.

``from tests.pages import *`` brings the fixtures into a conftest.
"""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest
from django.test import Client

__all__ = ["admin_pages", "auditor_pages", "member_pages", "pages_as"]


class _Reader(HTMLParser):
    """Collects a page's links and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.links.append(href)

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


class Page:
    """One answer: ``status``, ``html``, its words and the links on it."""

    def __init__(self, answer: Any, url: str) -> None:
        self.answer = answer
        self.status = answer.status_code
        is_text = not answer.streaming
        self.html = answer.content.decode() if is_text else ""
        reader = _Reader()
        reader.feed(self.html)
        self.text = " ".join(" ".join(reader.pieces).split())
        self.links = [
            urljoin(url, link).partition("#")[0]
            for link in reader.links
            if not link.startswith("#")
        ]


class Pages:
    """The pages below /admin/ for one person."""

    def __init__(self, user: Any) -> None:
        self.client = Client()
        if user is not None:
            self.client.force_login(user)

    def get(self, path: str, **query: Any) -> Page:
        return Page(self.client.get(self._url(path), query), self._url(path))

    def post(self, path: str, **fields: Any) -> Page:
        """Send a form, and follow where it leads."""
        answer = self.client.post(self._url(path), fields, follow=True)
        return Page(answer, self._url(path))

    @staticmethod
    def _url(path: str) -> str:
        return path if path.startswith("/") else f"/admin/{path}"


@pytest.fixture
def pages_as() -> Callable[[Any], Pages]:
    """Return a function that gives the pages as a user sees them; None is nobody."""
    return Pages


@pytest.fixture
def admin_pages(admin: Any) -> Pages:
    return Pages(admin)


@pytest.fixture
def auditor_pages(auditor: Any) -> Pages:
    return Pages(auditor)


@pytest.fixture
def member_pages(member: Any) -> Pages:
    return Pages(member)

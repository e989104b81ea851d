"""Paths that work with and without the slash at their end."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path


def route(pattern: str, view: Any, *, name: str | None = None) -> list[URLPattern]:
    """Return the path as documented, with its slash, and its twin without."""
    return [
        path(f"{pattern}/", view.as_view(), name=name),
        path(pattern, view.as_view()),
    ]


def documented(endpoints: list[Any]) -> list[Any]:
    """Leave out of the schema what ``route`` added (a preprocessing hook)."""
    paths = {endpoint[0] for endpoint in endpoints}
    return [endpoint for endpoint in endpoints if f"{endpoint[0]}/" not in paths]

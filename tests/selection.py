"""Chooses the tests for which the database matters (loaded with ``-p``).

The suite runs twice, on SQLite and on PostgreSQL; what touches neither needs to run
only once.
"""

from __future__ import annotations

import pytest

_FIXTURES = {"db", "transactional_db", "live_db", "live_database", "django_db_setup"}
_MARKS = ("django_db", "live", "browser", "postgres")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    others = [item for item in items if not _needs_database(item)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if _needs_database(item)]


def _needs_database(item: pytest.Item) -> bool:
    if item.get_closest_marker("once"):
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(fixtures & _FIXTURES) or any(map(item.get_closest_marker, _MARKS))

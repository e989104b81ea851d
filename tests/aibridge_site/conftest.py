"""People who look at the pages, and the pages as they see them."""

from __future__ import annotations

import pytest
from django.core.cache import cache

from tests.pages import *  # noqa: F403
from tests.people import *  # noqa: F403


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Forget figures of the first page that another test left."""
    cache.clear()

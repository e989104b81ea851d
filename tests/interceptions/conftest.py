"""People who look at records, and the pages as they see them."""

from __future__ import annotations

from tests.pages import *  # noqa: F403
from tests.people import *  # noqa: F403

"""People of every role, for whole journeys through the real URLs."""

from __future__ import annotations

from tests.people import *  # noqa: F403

"""People of every role who call the API."""

from __future__ import annotations

from tests.people import *  # noqa: F403

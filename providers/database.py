"""Database connections: given back early, as code that waits must, and read quickly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.backends.postgresql.psycopg_any import (
    BaseTzLoader,
    get_adapters_template,
)


class MomentLoader(BaseTzLoader):
    """Reads PostgreSQL's times with Python's own parser.

    Django's loader takes them apart with a regular expression, at ten times the cost;
    a page of a list has thousands of times.
    """

    timezone = UTC

    def load(self, data: Any) -> datetime:
        """Return the time in UTC; what Python cannot hold is left to Django."""
        try:
            return datetime.fromisoformat(str(data, "ascii"))
        except ValueError:
            return super().load(data)


def read_moments_quickly() -> None:
    """Read times with ``MomentLoader`` on every connection that is opened from now."""
    adapters = get_adapters_template(settings.USE_TZ, UTC)
    adapters.register_loader("timestamptz", MomentLoader)


def give_back() -> None:
    """Return this greenlet's connection to the pool, unless a transaction holds it.

    A request that waits for upstream, or a background loop that sleeps, would keep a
    connection for as long as it lives.
    """
    if not connection.in_atomic_block:
        connection.close()

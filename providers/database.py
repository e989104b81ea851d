"""Giving database connections back early, as code that waits for others must."""

from __future__ import annotations

from django.db import connection


def give_back() -> None:
    """Return this greenlet's connection to the pool, unless a transaction holds it.

    A request that waits for upstream, or a background loop that sleeps, would keep a
    connection for as long as it lives.
    """
    if not connection.in_atomic_block:
        connection.close()

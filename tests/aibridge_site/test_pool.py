"""The pool of database connections that workers have."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg_pool
import pytest

from aibridge_site import settings
from tests.postgres import Cluster, PostgresUnavailable

pytestmark = [pytest.mark.live, pytest.mark.postgres]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    try:
        cluster = Cluster().start()
    except PostgresUnavailable as error:
        pytest.skip(str(error))
    yield cluster
    cluster.destroy()


@pytest.fixture
def pool(cluster: Cluster, monkeypatch) -> Iterator[psycopg_pool.ConnectionPool]:
    monkeypatch.setenv("DATABASE_URL", cluster.url())
    monkeypatch.setenv("AIBRIDGE_DATABASE_POOL", "True")
    options = settings._database()["OPTIONS"]["pool"]
    check = psycopg_pool.ConnectionPool.check_connection
    with psycopg_pool.ConnectionPool(
        cluster.url(), open=True, check=check, **options
    ) as pool:
        pool.wait(10)
        yield pool


def is_served(pool: psycopg_pool.ConnectionPool, seconds: float) -> bool:
    try:
        with pool.connection(timeout=seconds) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except (psycopg_pool.PoolTimeout, psycopg_pool.TooManyRequests):
        return False


def test_database_that_is_back_is_found_soon(cluster: Cluster, pool):
    assert is_served(pool, 5)
    cluster.stop()
    until = time.monotonic() + 9
    while time.monotonic() < until:
        assert not is_served(pool, 0.5)
    cluster.start()
    began = time.monotonic()
    while not is_served(pool, 0.5):
        assert time.monotonic() - began < 4

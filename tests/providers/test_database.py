"""Reading what PostgreSQL sends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import DataError, connection
from django.db.backends.postgresql.psycopg_any import BaseTzLoader

from providers.database import MomentLoader

TIMESTAMPTZ = 1184


class DjangosLoader(BaseTzLoader):
    timezone = UTC


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21 09:12:51+00",
        "2026-11-21 09:12:51.2+00",
        "2026-11-21 09:12:51.213969+00",
        "0001-01-01 00:00:00+00",
        "9999-12-31 23:59:59.999999+00",
    ],
)
def test_times_are_those_that_django_reads(text):
    loaded = MomentLoader(TIMESTAMPTZ, None).load(text.encode())
    assert loaded == DjangosLoader(TIMESTAMPTZ, None).load(text.encode())
    assert loaded.tzinfo is UTC


def test_memory_that_the_driver_lends_is_read():
    loaded = MomentLoader(TIMESTAMPTZ, None).load(memoryview(b"2026-11-21 09:12:51+00"))
    assert loaded == datetime(2026, 11, 21, 9, 12, 51, tzinfo=UTC)


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")
@pytest.mark.django_db
def test_connections_read_times_with_it_and_refuse_what_python_cannot_hold():
    with connection.cursor() as cursor:
        cursor.execute("SELECT '2026-11-21 10:12:51.5+01'::timestamptz")
        assert cursor.fetchone() == (datetime(2026, 11, 21, 9, 12, 51, 500_000, UTC),)
        loader = cursor.connection.adapters.get_loader(TIMESTAMPTZ, 0)
        assert loader is MomentLoader
        cursor.execute("SELECT 'infinity'::timestamptz")
        with pytest.raises(DataError):
            cursor.fetchone()

"""Questions to tables that may be large."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL
from django.test.utils import CaptureQueriesContext

from providers import querying
from providers.models import AiProvider


@pytest.fixture
def people(db):
    for number in range(5):
        User.objects.create_user(f"user-{number}")
    return User.objects.filter(username__startswith="user-")


@pytest.mark.parametrize(("most", "counted"), [(3, 4), (4, 5), (5, 5), (9, 5)])
def test_count_ends_one_after_the_most(people, most, counted):
    assert querying.count_up_to(people, most) == counted


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no time limit")
@pytest.mark.parametrize("is_large", [True, False])
def test_count_of_a_large_table_ends_in_time(people, monkeypatch, is_large):
    monkeypatch.setattr(querying, "LARGE", -2 if is_large else 1_000_000)
    sleeps = RawSQL("length(pg_sleep(0.1)::text) >= 0", (), BooleanField())
    slow = people.filter(sleeps)
    assert querying.count_up_to(slow, 9) == (None if is_large else 5)
    # The limit is over, and so is what it cut.
    assert querying.count_up_to(people, 9) == 5


@pytest.fixture
def rows(db):
    for number in range(5):
        fields = {"name": f"p-{number}", "base_url": "https://api.example.com"}
        AiProvider.objects.create(kind="openai", **fields)
    return AiProvider.objects.filter(name__startswith="p-")


def test_first_rows_are_read_as_asked_in_their_order(rows):
    order = ["-name"]
    found = querying.first_rows(rows, order, 2)
    assert [row.name for row in found] == ["p-4", "p-3"]
    names = querying.first_rows(rows, order, 2, lambda rows: rows.values("name"))
    assert names == [{"name": "p-4"}, {"name": "p-3"}]
    assert querying.first_rows(rows.none(), order, 2) == []


def test_many_ids_are_one_value(rows):
    wanted = list(rows)[:2]
    with CaptureQueriesContext(connection) as asked:
        ids = querying.is_one_of("pk", [row.pk for row in wanted])
        assert set(AiProvider.objects.filter(ids)) == set(wanted)
    if connection.vendor == "postgresql":
        assert "= ANY(" in asked[0]["sql"]
    assert not AiProvider.objects.filter(querying.is_one_of("pk", [])).exists()

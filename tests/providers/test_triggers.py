"""The database announces what changed, and only that."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from providers import changes
from providers.models import AiProvider, ApiKey
from providers.triggers import trigger_names

pytestmark = pytest.mark.django_db(transaction=True)

WATCHED = [
    "providers.AiProvider",
    "providers.ApiKey",
    "proxy.GatewayToken",
    "auth.User",
]


@pytest.fixture
def heard():
    """Return a function that says which topics were announced since the last call."""
    sqlite = connection.vendor == "sqlite"
    source = (
        changes.SqliteSource(NeverStopping()) if sqlite else changes.PostgresSource()
    )
    source.open()

    def heard() -> set[str]:
        topics: set[str] = set()
        # Each transaction is told by itself.
        while more := source.wait(0.2):
            topics |= more
        return topics

    yield heard
    if not sqlite:
        source.close()


class NeverStopping:
    """Stands for the event of a listener; does not wait."""

    def wait(self, seconds: float) -> bool:
        return False


@pytest.mark.parametrize("label", WATCHED)
def test_every_watched_table_has_its_triggers(label):
    """A migration that rebuilt the table on SQLite would have lost them."""
    table = apps.get_model(label)._meta.db_table
    catalogue = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.vendor == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    )
    with connection.cursor() as cursor:
        cursor.execute(catalogue)
        present = {name for (name,) in cursor.fetchall()}
    assert set(trigger_names(table)) <= present


def test_keys_are_announced_when_they_come_change_and_go(make_provider, heard):
    make_provider("main", "key-a")
    assert heard() == {"providers", "keys"}
    assert heard() == set()
    for change in (
        {"cooldown_until": timezone.now()},
        {"retired_at": timezone.now()},
        {"returned_at": timezone.now()},
        {"enabled": False},
        {"position": 7},
        {"secret": "key-b"},
    ):
        ApiKey.objects.update(**change)
        assert heard() == {"keys"}, change
    ApiKey.objects.all().delete()
    assert heard() == {"keys"}


def test_what_no_worker_acts_on_is_not_announced(make_provider, heard):
    make_provider("main", "key-a")
    heard()
    ApiKey.objects.update(
        last_used_at=timezone.now(),
        probed_at=timezone.now(),
        last_status=429,
        last_error="x",
        last_error_at=timezone.now(),
        label="team b",
        updated_at=timezone.now(),
    )
    AiProvider.objects.update(updated_at=timezone.now())
    assert heard() == set()


def test_update_that_changes_nothing_is_not_announced(make_provider, heard):
    provider = make_provider("main", "key-a")
    heard()
    provider.save()
    ApiKey.objects.update(enabled=True)
    assert heard() == set()


def test_users_are_announced_by_what_matters(heard):
    user = get_user_model().objects.create_user("ana")
    assert heard() == {"users"}
    user.last_login = timezone.now()
    user.save(update_fields=["last_login"])
    assert heard() == set()
    user.is_active = False
    user.save()
    assert heard() == {"users"}


def test_change_that_is_rolled_back_is_not_announced(make_provider, heard):
    make_provider("main", "key-a")
    heard()
    with transaction.atomic():
        ApiKey.objects.update(enabled=False)
        transaction.set_rollback(True)
    assert heard() == set()


def test_counter_that_was_emptied_is_heard_again(make_provider, heard):
    if connection.vendor != "sqlite":
        pytest.skip("there are no counters")
    make_provider("main")
    heard()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM providers_revision")
    make_provider("other")
    assert heard() == {"providers"}


def test_triggers_come_and_go_with_their_migrations(make_provider, heard):
    try:
        call_command("migrate", "proxy", "0001", verbosity=0)
        call_command("migrate", "providers", "0001", verbosity=0)
        make_provider("main", "key-a")
        assert heard() == set()
    finally:
        call_command("migrate", verbosity=0)
    heard()
    ApiKey.objects.update(enabled=False)
    assert heard() == {"keys"}

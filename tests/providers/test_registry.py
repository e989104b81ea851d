"""Live providers in memory: what is loaded, what survives, and what is broken."""

from __future__ import annotations

import logging

import pytest
from django.db import DatabaseError, connection

from providers import keystate
from providers.keypool import KeyPoolExhausted, KeyState
from providers.models import AiProvider, ApiKey
from providers.provider import BreakerOptions

pytestmark = pytest.mark.django_db(transaction=True)

KEY_A, KEY_B = "sk-ant-api03-aaaaaaaa", "sk-ant-api03-bbbbbbbb"


def test_provider_has_everything_a_request_needs(registry, make_provider):
    make_provider(
        "main",
        KEY_A,
        KEY_B,
        auth_failure_policy="cooldown",
        max_cooldown=77,
        idle_timeout=9,
        allow_byok=False,
        breaker_enabled=True,
        breaker_threshold=4,
        options={"region": "x"},
        secret_options='{"aws_secret": "very-secret-value"}',
    )
    registry.reload()
    provider = registry.get("main")
    assert [key.value for key in provider.pool.keys] == [KEY_A, KEY_B]
    assert (provider.policy, provider.max_cooldown) == ("cooldown", 77)
    assert (provider.idle_timeout, provider.allow_byok) == (9, False)
    assert provider.breaker == BreakerOptions(threshold=4)
    assert provider.options == {"region": "x"}
    assert provider.secret_options == {"aws_secret": "very-secret-value"}
    assert (provider.spec.label, provider.error) == ("Anthropic", "")
    assert "very-secret-value" not in repr(provider)


def test_get_asks_no_query(registry, make_provider, django_assert_num_queries):
    make_provider("main", KEY_A)
    registry.reload()
    with django_assert_num_queries(0):
        next(registry.get("main").pool.walk())
        registry.all()


def test_reload_asks_two_queries(registry, make_provider, django_assert_num_queries):
    for number in range(5):
        make_provider(f"main-{number}", KEY_A, KEY_B)
    with django_assert_num_queries(2):
        registry.reload()


# 30.4 key resolution


def test_one_key_makes_a_one_key_pool(registry, make_provider):
    make_provider("main", KEY_A)
    registry.reload()
    assert len(registry.get("main").pool.keys) == 1


def test_no_key_makes_no_pool(registry, make_provider):
    make_provider("main")
    registry.reload()
    assert registry.get("main").pool is None
    assert registry.get("main").error == ""


def test_disabled_key_is_not_in_the_pool(registry, make_provider, key_row):
    make_provider("main", KEY_A, KEY_B)
    ApiKey.objects.filter(pk=key_row(KEY_A).pk).update(enabled=False)
    registry.reload()
    assert [key.value for key in registry.get("main").pool.keys] == [KEY_B]


def test_keys_follow_their_positions(registry, make_provider, key_row):
    make_provider("main", KEY_A, KEY_B)
    ApiKey.objects.filter(pk=key_row(KEY_A).pk).update(position=9)
    registry.reload()
    assert [key.value for key in registry.get("main").pool.keys] == [KEY_B, KEY_A]


# Names


def test_unknown_deleted_and_disabled_providers_are_told_apart(registry, make_provider):
    gone = make_provider("gone", KEY_A)
    AiProvider.objects.filter(pk=gone.pk).update(deleted_at="2026-01-01T00:00Z")
    make_provider("off", KEY_A, enabled=False)
    registry.reload()
    assert registry.get("gone") is None
    assert registry.get("never") is None
    assert registry.get("off").enabled is False
    assert [provider.name for provider in registry.all()] == ["off"]


def test_name_of_a_deleted_provider_may_be_used_again(registry, make_provider):
    gone = make_provider("main", KEY_A)
    AiProvider.objects.filter(pk=gone.pk).update(deleted_at="2026-01-01T00:00Z")
    make_provider("main", KEY_B)
    registry.reload()
    assert [key.value for key in registry.get("main").pool.keys] == [KEY_B]


# What is broken


def test_broken_rows_stop_no_other_and_say_why(registry, make_provider, caplog):
    make_provider("good", KEY_A)
    make_provider("future", kind="telepathy")
    make_provider("sealed", KEY_A)
    make_provider("metadata", base_url="http://169.254.169.254")
    make_provider("nowhere", kind="azure", base_url="")
    make_provider("options", secret_options="not json")
    seal_with_a_lost_key("sealed")
    registry.reload()
    errors = {provider.name: provider.error for provider in registry.all()}
    assert errors.pop("good") == ""
    assert "telepathy" in errors.pop("future")
    assert "not configured" in errors.pop("sealed")
    assert "metadata" in errors.pop("metadata")
    assert "missing" in errors.pop("nowhere")
    assert errors.pop("options")
    assert not errors


def seal_with_a_lost_key(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE providers_apikey SET secret = 'gAAAAAB-not-openable', "
            "fingerprint = 'changed' WHERE provider_id = (SELECT id FROM "
            "providers_aiprovider WHERE name = %s)",
            [name],
        )


def test_one_key_that_cannot_be_opened_leaves_the_others(
    registry, make_provider, key_row, caplog
):
    make_provider("main", KEY_A, KEY_B)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE providers_apikey SET secret = 'broken' WHERE hint = %s",
            [key_row(KEY_A).hint],
        )
    with caplog.at_level(logging.ERROR):
        registry.reload()
        registry.reload()
    assert [key.value for key in registry.get("main").pool.keys] == [KEY_B]
    assert registry.get("main").error == ""
    assert [record.msg for record in caplog.records] == ["provider or key not usable"]


def test_failing_reload_keeps_the_last_good_snapshot(registry, make_provider):
    make_provider("main", KEY_A)
    registry.reload()
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE providers_apikey RENAME TO away")
    try:
        with pytest.raises(DatabaseError):
            registry.reload()
        assert next(registry.get("main").pool.walk()).value == KEY_A
        assert registry.ready
    finally:
        with connection.schema_editor() as editor:
            editor.execute("ALTER TABLE away RENAME TO providers_apikey")


def test_registry_is_ready_once_it_was_loaded(registry):
    assert not registry.ready
    registry.reload()
    assert registry.ready


# Marks and reloads


def test_edits_of_the_provider_keep_marks(registry, make_provider):
    row = make_provider("main", KEY_A, KEY_B)
    registry.reload()
    provider = registry.get("main")
    key = next(provider.pool.walk())
    keystate.report_permanent(provider, key, reason="unauthorized", status=401)
    AiProvider.objects.filter(pk=row.pk).update(idle_timeout=1, kind="openai")
    registry.reload()
    assert next(registry.get("main").pool.walk()).value == KEY_B
    keystate.flush()
    registry.reload()
    assert next(registry.get("main").pool.walk()).value == KEY_B


def test_marks_survive_a_restart(registry, make_provider):
    make_provider("main", KEY_A, KEY_B)
    registry.reload()
    provider = registry.get("main")
    first, second = provider.pool.keys
    keystate.report_temporary(
        provider, first, cooldown=30, reason="rate_limited", status=429
    )
    keystate.report_permanent(provider, second, reason="unauthorized", status=401)
    keystate.flush()
    restarted = type(registry)()
    restarted.reload()
    pool = restarted.get("main").pool
    assert pool.state(pool.keys[0]) is KeyState.TEMPORARY
    assert 29 < pool.remaining(pool.keys[0]) <= 30
    assert pool.state(pool.keys[1]) is KeyState.PERMANENT
    with pytest.raises(KeyPoolExhausted):
        next(pool.walk())


def test_changed_secret_is_a_fresh_key(registry, make_provider, key_row):
    make_provider("main", KEY_A)
    registry.reload()
    provider = registry.get("main")
    (old,) = provider.pool.keys
    keystate.report_permanent(provider, old, reason="unauthorized", status=401)
    keystate.flush()
    keystate.set_secret(key_row(KEY_A), KEY_B, actor="ana")
    registry.reload()
    (fresh,) = registry.get("main").pool.keys
    assert fresh is not old
    assert (fresh.value, provider.pool.state(fresh)) == (KEY_B, KeyState.VALID)


def test_late_mark_for_the_old_secret_does_not_touch_the_new_one(
    registry, make_provider, key_row
):
    make_provider("main", KEY_A)
    registry.reload()
    provider = registry.get("main")
    (old,) = provider.pool.keys
    keystate.set_secret(key_row(KEY_A), KEY_B, actor="ana")
    keystate.report_permanent(provider, old, reason="unauthorized", status=401)
    keystate.flush()
    registry.reload()
    assert next(registry.get("main").pool.walk()).value == KEY_B
    assert key_row(KEY_B).retired_at is None


def test_returned_key_is_valid_again(registry, make_provider, key_row):
    make_provider("main", KEY_A)
    registry.reload()
    provider = registry.get("main")
    (key,) = provider.pool.keys
    keystate.report_permanent(provider, key, reason="unauthorized", status=401)
    keystate.flush()
    keystate.return_to_service(key_row(KEY_A), actor="ana")
    registry.reload()
    assert provider.pool.state(key) is KeyState.VALID


def test_return_clears_a_mark_that_could_not_be_stored_before(
    registry, make_provider, key_row
):
    make_provider("main", KEY_A)
    registry.reload()
    provider = registry.get("main")
    (key,) = provider.pool.keys
    provider.pool.mark_permanent(key)
    keystate.return_to_service(key_row(KEY_A), actor="ana")
    registry.reload()
    assert provider.pool.state(key) is KeyState.VALID


# Secrets


def test_known_secrets_are_all_of_them_longest_first(registry, make_provider, key_row):
    make_provider("main", KEY_A, "short", secret_options='{"a": "option-secret"}')
    ApiKey.objects.filter(pk=key_row("short").pk).update(enabled=False)
    registry.reload()
    assert registry.known_secrets() == (KEY_A, "option-secret", "short")


def test_unchanged_secrets_are_not_decrypted_again(registry, make_provider):
    make_provider("main", KEY_A)
    registry.reload()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_apikey SET secret = 'broken'")
    registry.reload()
    assert next(registry.get("main").pool.walk()).value == KEY_A

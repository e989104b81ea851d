"""Marks, returns, new keys and new secrets, with the database they are shared by."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers import keystate
from providers.keypool import Key, KeyPool, KeyState
from providers.markstore import Mark, Store
from providers.models import ApiKey, KeyEvent

pytestmark = pytest.mark.django_db(transaction=True)

KEY_A, KEY_B = "sk-ant-api03-aaaaaaaa", "sk-ant-api03-bbbbbbbb"


@pytest.fixture
def provider(registry, make_provider):
    """Return a loaded provider with two keys."""
    make_provider("main", KEY_A, KEY_B)
    registry.reload()
    return registry.get("main")


@pytest.fixture
def key(provider):
    return provider.pool.keys[0]


@pytest.fixture
def row(key):
    """Return a function that reads the first key's row."""
    return lambda: ApiKey.objects.get(pk=key.id)


def cool(provider, key, seconds=30, reason="rate_limited") -> bool:
    return keystate.report_temporary(
        provider, key, cooldown=seconds, reason=reason, status=429, error="too many"
    )


def retire(provider, key) -> bool:
    return keystate.report_permanent(
        provider, key, reason="unauthorized", status=401, error="invalid x-api-key"
    )


def events() -> list[tuple[str, str]]:
    return list(KeyEvent.objects.order_by("id").values_list("kind", "actor"))


# Marks


def test_mark_counts_in_memory_at_once_and_is_stored_soon(provider, key, row):
    before = timezone.now()
    assert cool(provider, key, 30) is True
    assert provider.pool.state(key) is KeyState.TEMPORARY
    assert keystate.flush()
    stored = row()
    assert abs(stored.cooldown_until.timestamp() - key.cooldown_until) < 0.001
    assert (stored.reason, stored.last_status) == ("rate_limited", 429)
    assert stored.last_error == "too many"
    assert stored.last_error_at >= before - timedelta(milliseconds=1)
    assert stored.retired_at is None


def test_marks_are_stored_without_being_flushed(provider, key, row):
    cool(provider, key)
    for _ in range(500):
        if row().cooldown_until:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the mark was not stored within 5 s")


def test_event_says_a_transition_once(provider, key):
    cool(provider, key, 5)
    cool(provider, key, 50)
    cool(provider, key, 1)
    retire(provider, key)
    retire(provider, key)
    keystate.flush()
    assert events() == [("cooled", "traffic"), ("retired", "traffic")]
    cooled = KeyEvent.objects.get(kind="cooled")
    assert (cooled.reason, cooled.status) == ("rate_limited", 429)
    assert cooled.until is not None


def test_only_transitions_are_logged_with_hint_and_cooldown(provider, key, caplog):
    with caplog.at_level(logging.INFO, "providers.keystate"):
        cool(provider, key, 5)
        cool(provider, key, 50)
        retire(provider, key)
        retire(provider, key)
    first, second = caplog.records
    assert (first.levelname, first.msg) == ("INFO", "key marked temporary")
    assert (first.provider, first.credential_hint) == ("main", "sk-a...aaaa")
    assert (first.status, first.cooldown) == (429, 5.0)
    assert (second.levelname, second.msg) == ("WARNING", "key marked permanent")
    assert (second.credential_hint, second.status) == ("sk-a...aaaa", 401)
    assert KEY_A not in caplog.text


def test_stored_deadline_is_never_shortened_by_another_process(provider, key, row):
    cool(provider, key, 600)
    keystate.flush()
    other = elsewhere(key)
    cool(other, other.pool.keys[0], 5)
    keystate.flush()
    assert row().cooldown_until > timezone.now() + timedelta(seconds=500)
    assert events() == [("cooled", "traffic")]


def test_stored_deadline_is_extended_by_another_process_without_an_event(
    provider, key, row
):
    cool(provider, key, 5)
    keystate.flush()
    other = elsewhere(key)
    cool(other, other.pool.keys[0], 600, "quota")
    keystate.flush()
    assert row().cooldown_until > timezone.now() + timedelta(seconds=500)
    assert row().reason == "quota"
    assert events() == [("cooled", "traffic")]


def test_temporary_mark_never_revives_a_retired_key(provider, key, row):
    retire(provider, key)
    keystate.flush()
    other = elsewhere(key)
    cool(other, other.pool.keys[0], 600)
    keystate.flush()
    assert row().retired_at is not None
    assert (row().reason, row().cooldown_until) == ("unauthorized", None)


def test_mark_from_before_a_return_does_not_count(provider, key, row):
    late = Mark(
        key_id=key.id,
        key=key,
        pool=provider.pool,
        fingerprint=key.fingerprint,
        at=timezone.now().timestamp(),
        until=None,
        reason="unauthorized",
        status=401,
        error="",
    )
    keystate.return_to_service(row(), actor="ana")
    late.store()
    assert row().retired_at is None
    assert events() == []


def test_mark_of_a_deleted_key_is_dropped(provider, key):
    ApiKey.objects.all().delete()
    cool(provider, key)
    assert keystate.flush()
    assert events() == []


def elsewhere(key: Key):
    """Return the provider as a process sees it that has not heard of any mark."""

    class Elsewhere:
        name = "main"
        pool = KeyPool([Key(key.value, id=key.id, fingerprint=key.fingerprint)])

    return Elsewhere


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["retire", 1, 60, 600])),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_no_order_of_processes_shortens_a_deadline_or_revives_a_key(
    provider, key, row, marks, random
):
    reset(row())
    processes = [elsewhere(key) for _ in range(3)]
    waiting = []
    for process, mark in marks:
        pool = processes[process].pool
        waiting.append(mark_in(pool, mark))
    random.shuffle(waiting)
    latest, retired = None, False
    for mark in filter(None, waiting):
        mark.store()
        stored = row()
        assert retired <= (stored.retired_at is not None)
        assert latest is None or stored.cooldown_until >= latest
        latest, retired = stored.cooldown_until, stored.retired_at is not None
    assert retired is any(mark == "retire" for _, mark in marks)


def mark_in(pool: KeyPool, mark: object) -> Mark | None:
    key = pool.keys[0]
    before = key.cooldown_until
    if mark == "retire":
        until = None
        changed = pool.mark_permanent(key)
    else:
        pool.mark_temporary(key, mark)
        until = key.cooldown_until
        changed = until > before
    if not changed:
        return None
    return Mark(
        key_id=key.id,
        key=key,
        pool=pool,
        fingerprint=key.fingerprint,
        at=key.marked_at,
        until=until,
        reason="unauthorized" if until is None else "rate_limited",
        status=429,
        error="",
    )


def reset(row: ApiKey) -> None:
    ApiKey.objects.filter(pk=row.pk).update(
        cooldown_until=None, retired_at=None, returned_at=None, reason=""
    )


def test_marks_of_many_threads_end_in_one_event(provider, key, row):
    """Two connections race for the transition; the database lets one have it."""
    pools = [elsewhere(key).pool for _ in range(4)]
    marks = [mark_in(pool, 60) for pool in pools]

    def store(mark: Mark) -> None:
        mark.store()
        connection.close()

    threads = [threading.Thread(target=store, args=(mark,)) for mark in marks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert events() == [("cooled", "traffic")]


def test_marks_wait_in_order_while_the_database_is_away(provider, key, row):
    original = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = (
        "/nonexistent/directory/file" if connection.vendor == "sqlite" else "no_such_db"
    )
    try:
        cool(provider, key, 30)
        retire(provider, key)
        assert keystate.flush(timeout=0.2) is False
    finally:
        connection.settings_dict["NAME"] = original
    assert keystate.flush(timeout=10)
    assert row().retired_at is not None
    assert events() == [("cooled", "traffic"), ("retired", "traffic")]


def test_marks_that_wait_are_bounded_by_the_number_of_keys(provider, key, row):
    original = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = "/nonexistent/x"
    store = Store()
    try:
        for seconds in range(1, 200):
            store.add(mark_in(provider.pool, 100 * seconds))
        assert store.flush(timeout=0) is False
        assert len(store._waiting) == 1
    finally:
        connection.settings_dict["NAME"] = original
    assert store.flush(timeout=10)
    assert abs(row().cooldown_until.timestamp() - key.cooldown_until) < 0.001
    assert events() == [("cooled", "traffic")]


# Last use


def test_use_is_stored_once_in_thirty_seconds(provider, key, row):
    keystate.touch(key)
    keystate.flush()
    first = row().last_used_at
    assert first is not None
    for _ in range(100):
        keystate.touch(key)
    keystate.flush()
    assert row().last_used_at == first
    key.used_at -= 31
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(seconds=31))
    keystate.touch(key)
    keystate.flush()
    assert row().last_used_at > timezone.now() - timedelta(seconds=5)


# Return to service


def test_return_to_service_clears_health_and_says_who_did_it(provider, key, row):
    retire(provider, key)
    keystate.flush()
    returned = row()
    assert keystate.return_to_service(returned, actor="ana") is True
    assert (returned.retired_at, returned.cooldown_until) == (None, None)
    assert returned.reason == ""
    assert events()[-1] == ("returned", "ana")


def test_return_of_a_resting_key_is_a_transition_too(provider, key, row):
    cool(provider, key, 600)
    keystate.flush()
    assert keystate.return_to_service(row(), actor="ana") is True
    assert row().cooldown_until is None


def test_return_of_a_key_in_service_is_no_event(provider, row):
    assert keystate.return_to_service(row(), actor="ana") is False
    assert events() == []


def test_probe_does_not_undo_a_later_retirement(provider, key, row):
    retire(provider, key)
    keystate.flush()
    earlier = datetime(2026, 1, 1, tzinfo=UTC)
    assert not keystate.return_to_service(row(), actor="probe", retired_at=earlier)
    assert row().retired_at is not None
    assert row().returned_at is None


# Keys and secrets


def test_added_keys_get_the_next_places(provider, make_provider):
    other = make_provider("other", KEY_A)
    added = keystate.add_key(other, f"  {KEY_B}\n", label="team b")
    assert (added.position, added.label, added.hint) == (1, "team b", "sk-a...bbbb")
    assert ApiKey.objects.get(pk=added.pk).secret == KEY_B


def test_secret_is_stored_encrypted(provider):
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret, fingerprint, hint FROM providers_apikey")
        stored = str(cursor.fetchall())
    assert KEY_A not in stored
    assert KEY_A[8:] not in stored


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("", "The key must not be blank."),
        (" \n\t", "The key must not be blank."),
        ("two words", "The key must not contain spaces or unprintable characters."),
        ("line\nbreak", "The key must not contain spaces or unprintable characters."),
        ("schlüssel", "The key must not contain spaces or unprintable characters."),
        (KEY_A, "This provider already has this key."),
    ],
)
def test_unusable_key_is_refused_by_name_of_the_field(make_provider, secret, message):
    row = make_provider("main", KEY_A)
    with pytest.raises(ValidationError) as refused:
        keystate.add_key(row, secret)
    assert refused.value.message_dict == {"secret": [message]}


def test_kind_without_a_pool_takes_no_keys(make_provider):
    row = make_provider("copilot", kind="copilot")
    with pytest.raises(ValidationError, match="GitHub Copilot takes no keys"):
        keystate.add_key(row, KEY_A)


def test_same_key_may_serve_two_providers(make_provider):
    make_provider("one", KEY_A)
    make_provider("two", KEY_A)
    assert ApiKey.objects.count() == 2


def test_duplicate_is_found_although_the_encryption_key_was_changed(
    make_provider, settings
):
    row = make_provider("main", KEY_A)
    new = "bmV3LWtleS1uZXcta2V5LW5ldy1rZXktbmV3LWtleS0="
    settings.AIBRIDGE_ENCRYPTION_KEYS = [new, *settings.AIBRIDGE_ENCRYPTION_KEYS]
    with pytest.raises(ValidationError, match="already has this key"):
        keystate.add_key(row, KEY_A)


def test_new_secret_clears_health_and_says_so(provider, key, row):
    retire(provider, key)
    keystate.flush()
    changed = row()
    assert keystate.set_secret(changed, "sk-ant-api03-cccccccc", actor="ana") is True
    stored = row()
    assert (stored.secret, stored.hint) == ("sk-ant-api03-cccccccc", "sk-a...cccc")
    assert (stored.retired_at, stored.reason, stored.last_status) == (None, "", None)
    assert events()[-1] == ("returned", "secret change")


def test_new_secret_of_a_key_in_service_is_no_event(provider, row):
    assert keystate.set_secret(row(), "sk-ant-api03-cccccccc", actor="ana") is True
    assert events() == []


def test_same_secret_changes_nothing(provider, key, row):
    retire(provider, key)
    keystate.flush()
    assert keystate.set_secret(row(), KEY_A, actor="ana") is False
    assert row().retired_at is not None


def test_secret_of_another_key_is_refused(provider, row):
    with pytest.raises(ValidationError, match="already has this key"):
        keystate.set_secret(row(), KEY_B, actor="ana")
    assert row().secret == KEY_A


# Test key


def test_key_that_upstream_accepts_returns_to_service(
    make_provider, registry, upstream, key_row
):
    make_provider("main", KEY_A, base_url=upstream.url)
    registry.reload()
    provider = registry.get("main")
    retire(provider, provider.pool.keys[0])
    keystate.flush()
    test = keystate.test_key(key_row(KEY_A), actor="ana")
    assert (test.ok, test.status) == (True, 200)
    assert key_row(KEY_A).retired_at is None
    assert key_row(KEY_A).probed_at is not None
    assert events()[-1] == ("returned", "ana")


def test_key_that_upstream_refuses_stays_as_it_is(make_provider, upstream, key_row):
    make_provider("main", KEY_A, base_url=upstream.url)
    upstream.script(KEY_A, 401)
    test = keystate.test_key(key_row(KEY_A), actor="ana")
    assert (test.ok, test.status) == (False, 401)
    assert key_row(KEY_A).retired_at is None
    assert key_row(KEY_A).last_status == 401
    assert events() == []

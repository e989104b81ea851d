"""Secrets at rest: encryption, its keys, and moving to a new one."""

from __future__ import annotations

import io

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection

from providers import encryption
from providers.models import AiProvider, ApiKey

KEY_A, KEY_B = "sk-ant-api03-aaaaaaaa", "sk-ant-api03-bbbbbbbb"


def run(command: str) -> str:
    out = io.StringIO()
    call_command(command, stdout=out)
    return out.getvalue()


def test_generated_key_is_usable(settings):
    settings.AIBRIDGE_ENCRYPTION_KEYS = [run("generate_key").strip()]
    assert encryption.decrypt(encryption.encrypt("plain")) == "plain"


def test_fingerprint_is_equal_for_equal_secrets_only(settings):
    assert encryption.fingerprint("a") == encryption.fingerprint("a")
    assert encryption.fingerprint("a") != encryption.fingerprint("b")
    assert "a" not in encryption.fingerprints("a")


@pytest.mark.django_db
def test_after_rotation_the_new_key_alone_opens_everything(make_provider, settings):
    make_provider("main", KEY_A, KEY_B)
    gone = make_provider("gone", KEY_A, secret_options='{"aws": "x"}')
    AiProvider.objects.filter(pk=gone.pk).update(deleted_at="2026-01-01T00:00Z")
    new = Fernet.generate_key().decode()
    settings.AIBRIDGE_ENCRYPTION_KEYS = [new, *settings.AIBRIDGE_ENCRYPTION_KEYS]
    assert run("rotate_encryption_keys") == (
        "4 secrets encrypted with the first key.\n"
    )
    settings.AIBRIDGE_ENCRYPTION_KEYS = [new]
    assert sorted(row.secret for row in ApiKey.objects.all()) == [KEY_A, KEY_A, KEY_B]
    assert AiProvider.all_objects.get(name="gone").secret_options == '{"aws": "x"}'
    for row in ApiKey.objects.all():
        assert row.fingerprint == encryption.fingerprint(row.secret)


@pytest.mark.django_db
def test_rotation_keeps_marks_and_keys_in_memory(make_provider, registry, settings):
    make_provider("main", KEY_A)
    registry.reload()
    (key,) = registry.get("main").pool.keys
    new = Fernet.generate_key().decode()
    settings.AIBRIDGE_ENCRYPTION_KEYS = [new, *settings.AIBRIDGE_ENCRYPTION_KEYS]
    run("rotate_encryption_keys")
    registry.reload()
    assert registry.get("main").pool.keys == (key,)
    assert key.fingerprint == ApiKey.objects.get().fingerprint


@pytest.mark.django_db
def test_secret_that_no_key_opens_is_reported_and_the_rest_is_done(
    make_provider, settings
):
    make_provider("main", KEY_A, KEY_B)
    broken = ApiKey.objects.get(position=0)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_apikey SET secret = 'x' WHERE position = 0")
    new = Fernet.generate_key().decode()
    settings.AIBRIDGE_ENCRYPTION_KEYS = [new, *settings.AIBRIDGE_ENCRYPTION_KEYS]
    with pytest.raises(CommandError, match=str(broken.pk)):
        run("rotate_encryption_keys")
    settings.AIBRIDGE_ENCRYPTION_KEYS = [new]
    assert ApiKey.objects.get(position=1).secret == KEY_B


@pytest.mark.django_db
def test_secret_that_no_key_opens_says_so(make_provider, settings):
    make_provider("main", KEY_A)
    settings.AIBRIDGE_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(encryption.UndecryptableSecret, match="not configured"):
        ApiKey.objects.get()


@pytest.mark.django_db
def test_more_secrets_than_a_batch_are_all_rotated(make_provider, settings):
    make_provider("main", *(f"key-{number:04d}" for number in range(120)))
    new = Fernet.generate_key().decode()
    settings.AIBRIDGE_ENCRYPTION_KEYS = [new, *settings.AIBRIDGE_ENCRYPTION_KEYS]
    run("rotate_encryption_keys")
    settings.AIBRIDGE_ENCRYPTION_KEYS = [new]
    assert len({row.secret for row in ApiKey.objects.all()}) == 120

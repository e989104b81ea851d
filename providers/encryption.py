"""Secrets at rest: an encrypted text field, and keyed fingerprints.

Keys come from ``settings.AIBRIDGE_ENCRYPTION_KEYS``; the first encrypts, all decrypt,
so that a key is rotated by putting the new one in front and running
``rotate_encryption_keys``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class UndecryptableSecret(ValueError):
    """None of the configured encryption keys opens a stored secret."""


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def _current() -> MultiFernet:
    return _fernet(tuple(settings.AIBRIDGE_ENCRYPTION_KEYS))


def encrypt(plain: str) -> str:
    """Return the text encrypted with the first key."""
    return _current().encrypt(plain.encode()).decode()


def decrypt(stored: str) -> str:
    """Return the plain text; raises UndecryptableSecret when no key fits."""
    try:
        return _current().decrypt(stored.encode()).decode()
    except InvalidToken as error:
        raise UndecryptableSecret(
            "a stored secret was encrypted with a key that is not configured"
        ) from error


def rotate(stored: str) -> str:
    """Return the same secret encrypted anew with the first key."""
    return _current().rotate(stored.encode()).decode()


def fingerprint(plain: str) -> str:
    """Return a keyed hash that is equal for equal secrets and reveals nothing.

    It depends on the first key, so rotation makes fingerprints anew.
    """
    return _keyed_hash(settings.AIBRIDGE_ENCRYPTION_KEYS[0], plain)


def fingerprints(plain: str) -> list[str]:
    """Return the fingerprint under every configured key.

    A secret that was stored before the first key came to be is found by one of them.
    """
    return [_keyed_hash(key, plain) for key in settings.AIBRIDGE_ENCRYPTION_KEYS]


def _keyed_hash(key: str, plain: str) -> str:
    secret = base64.urlsafe_b64decode(key)
    return hmac.new(
        secret, b"fingerprint:" + plain.encode(), hashlib.sha256
    ).hexdigest()


class EncryptedTextField(models.TextField):
    """Text that is stored encrypted and reads as plain text in Python."""

    def get_prep_value(self, value: Any) -> Any:
        plain = super().get_prep_value(value)
        return encrypt(plain) if plain else plain

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return decrypt(value) if value else value

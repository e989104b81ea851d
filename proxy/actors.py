"""Who calls: gateway tokens, and the people behind them.

A token is looked up once and then answered from memory. The memory is emptied when a
token or user changes anywhere, and lives for a moment only while no changes are heard.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.contrib.auth.models import User
from django.db import DatabaseError

from providers import changes
from providers.database import give_back
from proxy import errors
from proxy.headers import bearer_token
from proxy.models import GatewayToken

logger = logging.getLogger(__name__)

TOKEN_HEADERS = ("x-aibridge-token", "x-coder-ai-governance-token")
_PREFIX_BYTES = 4
_SECRET_BYTES = 32
_REMEMBER_SECONDS = 60.0
_REMEMBER_DEAF_SECONDS = 0.5
_REMEMBERED_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Actor:
    """The person on whose behalf a client calls; ``expires_at`` is epoch seconds."""

    user_id: int
    username: str
    token_id: UUID
    expires_at: float = float("inf")


@dataclass(frozen=True, slots=True)
class _Remembered:
    actor: Actor | errors.GatewayError
    until: float


def new_token_text() -> tuple[str, str]:
    """Return (prefix, whole token text) of a token that does not exist yet."""
    prefix = secrets.token_hex(_PREFIX_BYTES)
    return prefix, f"aib_{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def digest(raw: str) -> str:
    """Return what is stored of a token: the SHA-256 of its text, in hex.

    A fast hash is right here: the secret has 256 random bits, so it cannot be guessed.
    """
    return hashlib.sha256(raw.encode("utf-8", "surrogateescape")).hexdigest()


def issue_token(
    owner: User, name: str, expires_at: datetime | None = None
) -> tuple[GatewayToken, str]:
    """Store a new token and return it with its text, which is never shown again."""
    prefix, raw = new_token_text()
    row = GatewayToken.objects.create(
        owner=owner,
        name=name,
        prefix=prefix,
        digest=digest(raw),
        expires_at=expires_at,
    )
    return row, raw


def find_token(headers: Mapping[str, str]) -> tuple[str, bool]:
    """Return (token text, whether the caller brings an own provider key).

    ``headers`` has lower-case names. Order: decisions D2, after the reference's
    governance header. Text is "" when there is none.
    """
    for name in TOKEN_HEADERS:
        if token := headers.get(name, "").strip():
            return token, True
    bearer = bearer_token(headers.get("authorization", ""))
    return bearer or headers.get("x-api-key", "").strip(), False


class Actors:
    """Answers tokens from memory; one instance for each process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Remembered] = {}
        self._generation = 0
        self._used: set[UUID] = set()

    def forget(self) -> None:
        """Ask the database again for everybody."""
        with self._lock:
            self._generation += 1
            self._known.clear()

    def authenticate(self, raw: str) -> Actor:
        """Return who showed this token.

        Raises Unauthorized (missing, unknown, expired, revoked), Forbidden (inactive
        owner) or RecordUnavailable (the database cannot be asked).
        """
        if not raw:
            raise errors.Unauthorized("no gateway token was sent")
        key = digest(raw)
        found = self._known.get(key)
        now = time.time()
        if found is None or found.until < now:
            found = self._look_up(key, now)
        if isinstance(found.actor, errors.GatewayError):
            raise found.actor.__class__(found.actor.message)
        if found.actor.expires_at <= now:
            raise errors.Unauthorized("the gateway token has expired")
        self._used.add(found.actor.token_id)
        return found.actor

    def take_used(self) -> set[UUID]:
        """Return the tokens used since the last call."""
        used, self._used = self._used, set()
        return used

    def _look_up(self, key: str, now: float) -> _Remembered:
        generation = self._generation
        try:
            actor = _load(key)
        except DatabaseError as error:
            logger.warning(
                "token lookup failed", extra={"reason": type(error).__name__}
            )
            raise errors.RecordUnavailable(
                "the gateway's database is not available"
            ) from error
        finally:
            give_back()
        live = changes.is_live()
        found = _Remembered(
            actor, now + (_REMEMBER_SECONDS if live else _REMEMBER_DEAF_SECONDS)
        )
        with self._lock:
            # A change heard during the query makes its answer stale.
            if generation == self._generation and len(self._known) < _REMEMBERED_MOST:
                self._known[key] = found
        return found


def _load(key: str) -> Actor | errors.GatewayError:
    row = GatewayToken.objects.select_related("owner").filter(digest=key).first()
    if row is None:
        return errors.Unauthorized("the gateway token is unknown")
    if row.revoked_at is not None:
        return errors.Unauthorized("the gateway token was revoked")
    if not row.owner.is_active:
        return errors.Forbidden("the token's owner is not active")
    expires = row.expires_at.timestamp() if row.expires_at else float("inf")
    return Actor(row.owner.pk, row.owner.get_username(), row.pk, expires)


actors = Actors()


def authenticate_token(raw: str) -> Actor:
    """Return who showed this token; raises like ``Actors.authenticate``."""
    return actors.authenticate(raw)


def start() -> None:
    """Listen for changes of tokens and users."""
    changes.subscribe("tokens", actors.forget)
    changes.subscribe("users", actors.forget)


def store_last_used() -> None:
    """Write down which tokens were used since the last call."""
    if used := actors.take_used():
        GatewayToken.objects.filter(pk__in=used).update(last_used_at=datetime.now(UTC))

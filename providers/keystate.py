"""What becomes of keys: marks, returns, new secrets, tests; for every process.

1. A mark counts here at once and everywhere within a second. It never shortens a
   deadline, never revives a retired key, and counts only for the secret it was made
   with and after the key's last return.
2. An event row and a log line say a transition, not its repetitions.
3. A retired key is never lost: a person, the probe or a new secret brings it back.
"""

from __future__ import annotations

import logging
import re
import time
from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, Max, Q
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from providers.encryption import fingerprint, fingerprints
from providers.keypool import Key, KeyPool
from providers.kinds import spec_of
from providers.markstore import TOUCH_SECONDS, Mark, Store, Touch
from providers.masking import mask
from providers.models import AiProvider, ApiKey, KeyEvent, KeyEventKind
from providers.provider import Provider
from providers.trial import KeyTest, try_key

__all__ = [
    "KeyTest",
    "add_key",
    "flush",
    "report_permanent",
    "report_temporary",
    "return_to_service",
    "set_secret",
    "test_key",
    "touch",
]

logger = logging.getLogger(__name__)

SECRET_CHANGE = "secret change"

_HEALTH = (
    "cooldown_until",
    "retired_at",
    "reason",
    "last_status",
    "last_error",
    "last_error_at",
    "probed_at",
    "returned_at",
)

_store = Store()
flush = _store.flush


def report_temporary(
    provider: Provider,
    key: Key,
    *,
    cooldown: float | None,
    reason: str,
    status: int | None,
    error: str = "",
) -> bool:
    """Rest a key, here at once and everywhere soon; return whether it was valid.

    ``cooldown`` in seconds, None for the default. ``error`` must hold no secret.
    """
    pool = provider.pool
    if pool is None:
        return False
    before = key.cooldown_until
    transition = pool.mark_temporary(key, cooldown, reason)
    until = key.cooldown_until
    if until <= before:
        return False
    facts = _log_facts(provider, key, status, reason)
    facts["cooldown"] = round(until - key.marked_at, 3)
    _leave(pool, key, until=until, reason=reason, status=status, error=error)
    if transition:
        logger.info("key marked temporary", extra=facts)
    return transition


def report_permanent(
    provider: Provider, key: Key, *, reason: str, status: int | None, error: str = ""
) -> bool:
    """Retire a key, here at once and everywhere soon; return whether it was not yet.

    ``error`` must hold no secret.
    """
    pool = provider.pool
    if pool is None or not pool.mark_permanent(key, reason):
        return False
    _leave(pool, key, until=None, reason=reason, status=status, error=error)
    facts = _log_facts(provider, key, status, reason)
    logger.warning("key marked permanent", extra=facts)
    return True


def touch(key: Key) -> None:
    """Note that a key was used; costs a query in 30 seconds at most."""
    now = time.time()
    if now - key.used_at < TOUCH_SECONDS:
        return
    key.used_at = now
    if key.id is not None:
        _store.add(Touch(key.id, now))


def return_to_service(
    row: ApiKey, *, actor: str, retired_at: datetime | None = None
) -> bool:
    """Make a key valid again for all processes; return whether it was not.

    ``actor`` is a user's name or "probe". With ``retired_at`` only that very
    retirement is undone, not a later one. The row's health is refreshed.
    """
    now = timezone.now()
    rows = ApiKey.objects.filter(id=row.id, fingerprint=row.fingerprint)
    if retired_at is not None:
        rows = rows.filter(retired_at=retired_at)
    with transaction.atomic():
        returned = bool(rows.filter(_out_of_service(now)).update(**_healthy(now)))
        if returned:
            _record_return(row.id, actor)
        else:
            # A mark that is still on its way to the database was made before this.
            rows.update(returned_at=_at_least(now))
    row.refresh_from_db(fields=_HEALTH)
    if returned:
        _log_return(row, actor)
    return returned


def test_key(row: ApiKey, *, actor: str) -> KeyTest:
    """Ask upstream whether it accepts a key, and return the key to service if so.

    Blocks for as long as upstream takes, 20 seconds at most. A refusal changes nothing
    but what is shown of the key's last answer.
    """
    test = try_key(row.provider, row.secret)
    ApiKey.objects.filter(id=row.id).update(probed_at=timezone.now())
    if test.ok:
        return_to_service(row, actor=actor)
    else:
        _note_refusal(row, test)
    return test


# The name is a verb here, not a test.
test_key.__test__ = False  # type: ignore[attr-defined]


def add_key(provider: AiProvider, secret: str, label: str = "") -> ApiKey:
    """Append a key to a provider's pool; raises ValidationError naming the field."""
    if not spec_of(provider.kind).has_pool:
        raise _invalid(f"{spec_of(provider.kind).label} takes no keys of its own.")
    secret = _clean(secret)
    with transaction.atomic():
        # Two keys added at once must not get the same place.
        _lock(provider)
        _refuse_duplicate(provider.pk, secret)
        last = provider.keys.aggregate(last=Max("position"))["last"]
        return ApiKey.objects.create(
            provider=provider,
            label=label,
            position=0 if last is None else last + 1,
            **_secret_columns(secret),
        )


def set_secret(row: ApiKey, secret: str, *, actor: str) -> bool:
    """Give a key another secret and a clean bill of health; False if it is the same.

    ``actor`` is the name of who changes it. Raises ValidationError naming the field.
    The row is refreshed.
    """
    secret, now = _clean(secret), timezone.now()
    if row.fingerprint in fingerprints(secret):
        return False
    with transaction.atomic():
        _refuse_duplicate(row.provider_id, secret, but=row.id)
        was_out = ApiKey.objects.filter(_out_of_service(now), id=row.id).exists()
        for name, value in _secret_columns(secret).items():
            setattr(row, name, value)
        row.cooldown_until = row.retired_at = row.last_status = None
        row.last_error_at = row.probed_at = None
        row.reason = row.last_error = ""
        row.returned_at = now
        _save_secret(row)
        if was_out:
            _record_return(row.id, SECRET_CHANGE)
    _log_return(row, f"{SECRET_CHANGE} by {actor}")
    return True


def _lock(provider: AiProvider) -> None:
    rows = AiProvider.all_objects.select_for_update().filter(pk=provider.pk)
    list(rows.values_list("pk"))


def _save_secret(row: ApiKey) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise _invalid("This provider already has this key.") from error


def _leave(
    pool: KeyPool,
    key: Key,
    *,
    until: float | None,
    reason: str,
    status: int | None,
    error: str,
) -> None:
    if key.id is None:
        return
    _store.add(
        Mark(
            key_id=key.id,
            key=key,
            pool=pool,
            fingerprint=key.fingerprint,
            at=key.marked_at,
            until=until,
            reason=reason,
            status=status,
            error=error,
        )
    )


def _log_facts(
    provider: Provider, key: Key, status: int | None, reason: str
) -> dict[str, object]:
    return {
        "provider": provider.name,
        "credential_hint": key.hint,
        "status": status,
        "reason": reason,
    }


def _out_of_service(now: datetime) -> Q:
    return Q(retired_at__isnull=False) | Q(cooldown_until__gt=now)


def _healthy(now: datetime) -> dict[str, object]:
    return {
        "cooldown_until": None,
        "retired_at": None,
        "reason": "",
        "returned_at": _at_least(now),
    }


def _at_least(now: datetime) -> Greatest:
    return Greatest(Coalesce(F("returned_at"), now), now)


def _record_return(key_id: UUID, actor: str) -> None:
    KeyEvent.objects.create(
        key_id=key_id, kind=KeyEventKind.RETURNED, actor=actor[:150]
    )


def _log_return(row: ApiKey, actor: str) -> None:
    facts = {"credential_hint": row.hint, "key_id": str(row.id), "actor": actor}
    logger.info("key returned to service", extra=facts)


def _note_refusal(row: ApiKey, test: KeyTest) -> None:
    ApiKey.objects.filter(id=row.id, fingerprint=row.fingerprint).update(
        last_status=test.status,
        last_error=test.message[:255],
        last_error_at=timezone.now(),
    )
    row.refresh_from_db(fields=_HEALTH)


def _clean(secret: str) -> str:
    """Return the secret without what pasting added; raises ValidationError."""
    secret = secret.strip()
    if not secret:
        raise _invalid("The key must not be blank.")
    if not _SECRET.fullmatch(secret):
        raise _invalid("The key must not contain spaces or unprintable characters.")
    return secret


_SECRET = re.compile(r"[!-~]{1,4096}")
"""What fits into an HTTP header as one word."""


def _refuse_duplicate(provider_id: UUID, secret: str, but: UUID | None = None) -> None:
    known = ApiKey.objects.filter(
        provider_id=provider_id, fingerprint__in=fingerprints(secret)
    )
    if set(known.values_list("id", flat=True)) - {but}:
        raise _invalid("This provider already has this key.")


def _secret_columns(secret: str) -> dict[str, str]:
    return {
        "secret": secret,
        "hint": mask(secret),
        "fingerprint": fingerprint(secret),
    }


def _invalid(message: str) -> ValidationError:
    return ValidationError({"secret": message})

"""The live providers of this process: rows made ready for requests, without a query.

``reload`` replaces the whole snapshot at once. What could not be loaded leaves the last
good snapshot in place; a row that cannot be used is held with its reason and stops no
other. Key objects outlive reloads, so that marks are kept.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import defaultdict
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError, InterfaceError
from django.db.models import ExpressionWrapper, F, QuerySet, TextField

from providers import bedrock, changes
from providers.encryption import UndecryptableSecret, decrypt
from providers.keypool import Key, KeyPool, KeyPoolError
from providers.kinds import Kind, spec_of, unsupported
from providers.models import AiProvider, ApiKey
from providers.provider import BreakerOptions, Provider
from providers.validators import validate_base_url

__all__ = ["BreakerOptions", "Provider", "Registry"]

logger = logging.getLogger(__name__)


class Registry:
    """Providers by name, as of the last change that was heard."""

    def __init__(self) -> None:
        self.ready = False
        self._providers: dict[str, Provider] = {}
        self._keys: dict[UUID, Key] = {}
        self._pools: dict[UUID, KeyPool] = {}
        self._secrets: tuple[str, ...] = ()
        self._reported: dict[str, str] = {}
        self._loading = threading.Lock()

    def get(self, name: str) -> Provider | None:
        """Return the provider, None when the name is unknown or deleted."""
        return self._providers.get(name)

    def all(self) -> list[Provider]:
        """Return all live providers in order of their names."""
        return sorted(self._providers.values(), key=lambda provider: provider.name)

    def known_secrets(self) -> tuple[str, ...]:
        """Return every secret of every provider, longest first, for scrubbing."""
        return self._secrets

    def start(self) -> None:
        """Load, and keep hearing of changes, which also repeats a failed load."""
        for topic in ("providers", "keys"):
            changes.subscribe(topic, self.reload)
        try:
            self.reload()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("providers not loaded", extra={"error": str(error)})
        changes.start()

    def reload(self) -> None:
        """Read all live rows; on django.db.Error everything stays as it was."""
        with self._loading:
            read_at = time.monotonic()
            rows, key_rows = list(_provider_rows()), _key_rows()
            load = _Load(self._keys, self._pools, read_at)
            providers = [load.provider(row, key_rows[row.id]) for row in rows]
            self._providers = {provider.name: provider for provider in providers}
            self._keys, self._pools = load.keys, load.pools
            self._secrets = tuple(sorted(load.secrets, key=len, reverse=True))
            self._report({**load.broken_keys, **load.broken_providers})
            self.ready = True

    def _report(self, broken: dict[str, str]) -> None:
        for name in sorted(broken):
            if self._reported.get(name) != broken[name]:
                facts = {"subject": name, "reason": broken[name]}
                logger.error("provider or key not usable", extra=facts)
        self._reported = broken


class _Load:
    """One reading of all rows; collects what the registry will hold."""

    def __init__(
        self, keys: dict[UUID, Key], pools: dict[UUID, KeyPool], read_at: float
    ) -> None:
        self.keys: dict[UUID, Key] = {}
        self.pools: dict[UUID, KeyPool] = {}
        self.secrets: set[str] = set()
        self.broken_keys: dict[str, str] = {}
        self.broken_providers: dict[str, str] = {}
        self._old_keys = keys
        self._old_pools = pools
        self._read_at = read_at

    def provider(self, row: AiProvider, key_rows: list[ApiKey]) -> Provider:
        """Return the provider of a row; ``error`` is set when it cannot be used."""
        errors = [_row_error(row)]
        pool = None
        secret_options: dict[str, Any] = {}
        try:
            secret_options = self._secret_options(row)
            pool = self._pool(row, key_rows)
        except (UndecryptableSecret, KeyPoolError, ValueError) as error:
            errors.append(str(error))
        if row.kind == Kind.BEDROCK:
            errors.append(bedrock.problem(_bedrock_settings(row, secret_options)))
        reason = next(filter(None, errors), "")
        if reason:
            self.broken_providers[row.name] = reason
        return _provider(row, pool, secret_options, reason)

    def _secret_options(self, row: AiProvider) -> dict[str, Any]:
        sealed: str = row.sealed  # type: ignore[attr-defined]
        if not sealed:
            return {}
        options = json.loads(decrypt(sealed))
        if not isinstance(options, dict):
            raise ValueError("the secret options are not a JSON object")
        self.secrets.update(v for v in options.values() if v and isinstance(v, str))
        return options

    def _pool(self, row: AiProvider, key_rows: list[ApiKey]) -> KeyPool | None:
        keys = self._usable_keys(row, key_rows)
        if not keys:
            return None
        old = self._old_pools.get(row.id)
        cooldown = settings.AIBRIDGE_DEFAULT_COOLDOWN_SECONDS
        pool = old or KeyPool(keys, default_cooldown=cooldown)
        for key_row in key_rows:
            if (key := self.keys.get(key_row.id)) is not None:
                _adopt(pool, key, key_row, self._read_at)
        # Only now, so that no request sees a key before its health.
        pool.replace(keys)
        self.pools[row.id] = pool
        return pool

    def _usable_keys(self, row: AiProvider, key_rows: list[ApiKey]) -> list[Key]:
        """Return the enabled keys; raises UndecryptableSecret when none can be read."""
        found, failed = [], None
        for key_row in key_rows:
            try:
                key = self._key(key_row)
            except UndecryptableSecret as error:
                self.broken_keys[f"{row.name} {key_row.hint}"] = str(error)
                failed = error
                continue
            if key_row.enabled:
                found.append(key)
        if failed is not None and not found:
            raise failed
        return found

    def _key(self, row: ApiKey) -> Key:
        """Return the key of a row, the same object for the same secret."""
        key = self._old_keys.get(row.id)
        if key is None or key.fingerprint != row.fingerprint:
            value = decrypt(row.sealed)  # type: ignore[attr-defined]
            if key is None or key.value != value:
                key = Key(value, id=row.id, hint=row.hint)
            key.fingerprint = row.fingerprint
        self.keys[row.id] = key
        self.secrets.add(key.value)
        return key


def _provider_rows() -> QuerySet[AiProvider]:
    return AiProvider.objects.defer("secret_options").annotate(
        sealed=_undecrypted("secret_options")
    )


def _key_rows() -> dict[UUID, list[ApiKey]]:
    rows: dict[UUID, list[ApiKey]] = defaultdict(list)
    query = ApiKey.objects.filter(provider__deleted_at=None).defer("secret")
    for row in query.annotate(sealed=_undecrypted("secret")).order_by("position", "id"):
        rows[row.provider_id].append(row)
    return rows


def _undecrypted(name: str) -> ExpressionWrapper:
    # One secret that cannot be decrypted must not fail the whole query.
    return ExpressionWrapper(F(name), output_field=TextField())


def _adopt(pool: KeyPool, key: Key, row: ApiKey, read_at: float) -> None:
    pool.adopt(
        key,
        permanent=row.retired_at is not None,
        cooldown_until=_epoch(row.cooldown_until),
        reason=row.reason,
        returned_at=_epoch(row.returned_at),
        read_at=read_at,
    )


def _epoch(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0


def _row_error(row: AiProvider) -> str:
    """Return why a provider cannot be used whatever its keys are, or ""."""
    if reason := unsupported(row.kind):
        return reason
    if not _base_url(row) and row.kind != Kind.BEDROCK:
        return "the base URL is missing"
    try:
        validate_base_url(_base_url(row))
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


def _bedrock_settings(
    row: AiProvider, secret_options: dict[str, Any]
) -> bedrock.BedrockSettings:
    options = row.options if isinstance(row.options, dict) else {}
    return bedrock.BedrockSettings.read(row.base_url, options, secret_options)


def _base_url(row: AiProvider) -> str:
    return (row.base_url or spec_of(row.kind).default_base_url).rstrip("/")


def _provider(
    row: AiProvider,
    pool: KeyPool | None,
    secret_options: dict[str, Any],
    error: str,
) -> Provider:
    return Provider(
        id=row.id,
        name=row.name,
        kind=row.kind,
        spec=spec_of(row.kind),
        base_url=_base_url(row),
        display_name=str(row),
        enabled=row.enabled,
        error=error,
        policy=row.auth_failure_policy,
        pool=pool,
        allow_byok=row.allow_byok,
        send_actor_headers=row.send_actor_headers,
        api_dump=row.api_dump,
        connect_timeout=row.connect_timeout,
        tls_timeout=row.tls_timeout,
        total_timeout=row.total_timeout,
        idle_timeout=row.idle_timeout,
        default_cooldown=settings.AIBRIDGE_DEFAULT_COOLDOWN_SECONDS,
        quota_cooldown=settings.AIBRIDGE_QUOTA_COOLDOWN_SECONDS,
        max_cooldown=row.max_cooldown,
        probe_interval=row.probe_interval,
        breaker=_breaker(row),
        options=row.options if isinstance(row.options, dict) else {},
        secret_options=secret_options,
    )


def _breaker(row: AiProvider) -> BreakerOptions | None:
    if not row.breaker_enabled:
        return None
    return BreakerOptions(
        threshold=row.breaker_threshold,
        interval=row.breaker_interval,
        timeout=row.breaker_timeout,
        max_requests=row.breaker_max_requests,
    )


_registry = Registry()
get = _registry.get
all = _registry.all
reload = _registry.reload
start = _registry.start
known_secrets = _registry.known_secrets


def __getattr__(name: str) -> Any:
    """Make ``registry.ready`` say whether rows were ever loaded."""
    if name == "ready":
        return _registry.ready
    raise AttributeError(name)

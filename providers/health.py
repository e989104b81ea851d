"""Providers and keys as a person wants to see them: usable or not, until when, why.

Reads rows; knows nothing of requests, so how busy a key was is told from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from providers import registry
from providers.keypool import KeyState
from providers.kinds import spec_of, unsupported
from providers.models import AiProvider, ApiKey

OFF = "off"
"""State of a key that an administrator switched off; it is not in the pool."""

STATE_LABELS = {
    KeyState.VALID: "In service",
    KeyState.TEMPORARY: "Resting",
    KeyState.PERMANENT: "Retired",
    OFF: "Switched off",
}
PROVIDER_STATES = {
    "healthy": "Healthy",
    "degraded": "Degraded",
    "down": "No key in service",
    "empty": "No key",
    "broken": "Error",
    "disabled": "Disabled",
}
REASONS = {
    "rate_limited": "rate limited",
    "quota": "out of quota",
    "unauthorized": "refused by the provider",
    "forbidden": "not allowed by the provider",
}


def key_state(key: ApiKey, now: datetime) -> str:
    """Return "off" or the KeyState of a stored key."""
    if not key.enabled:
        return OFF
    if key.retired_at is not None:
        return KeyState.PERMANENT
    if key.cooldown_until is not None and key.cooldown_until > now:
        return KeyState.TEMPORARY
    return KeyState.VALID


def in_state(state: str, now: datetime) -> Q:
    """Return the condition on keys that are in this state."""
    resting = Q(cooldown_until__gt=now)
    return {
        OFF: Q(enabled=False),
        KeyState.PERMANENT: Q(enabled=True, retired_at__isnull=False),
        KeyState.TEMPORARY: Q(enabled=True, retired_at=None) & resting,
        KeyState.VALID: Q(enabled=True, retired_at=None) & ~resting,
    }[state]


@dataclass(frozen=True, slots=True)
class KeyHealth:
    """One key and its state now."""

    key: ApiKey
    state: str

    @property
    def state_label(self) -> str:
        return STATE_LABELS[self.state]

    @property
    def reason(self) -> str:
        """Why the key is out, "" while it is in service."""
        if self.state not in {KeyState.TEMPORARY, KeyState.PERMANENT}:
            return ""
        return REASONS.get(self.key.reason, self.key.reason.replace("_", " "))

    @property
    def until(self) -> datetime | None:
        """When the key returns by itself, None when that is not known."""
        return self.key.cooldown_until if self.state == KeyState.TEMPORARY else None


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """One provider and its keys, in the order they are tried."""

    provider: AiProvider
    keys: list[KeyHealth] = field(default_factory=list)
    error: str = ""

    @property
    def healthy(self) -> int:
        return sum(key.state == KeyState.VALID for key in self.keys)

    @property
    def needs_keys(self) -> bool:
        """Whether requests are answered with this provider's own keys."""
        return spec_of(self.provider.kind).has_pool

    @property
    def state(self) -> str:
        """Return one of PROVIDER_STATES."""
        if not self.provider.enabled:
            return "disabled"
        if self.error:
            return "broken"
        if not self.needs_keys:
            return "healthy"
        in_use = [key for key in self.keys if key.state != OFF]
        if not in_use:
            return "empty"
        if not self.healthy:
            return "down"
        return "healthy" if self.healthy == len(in_use) else "degraded"

    @property
    def state_label(self) -> str:
        return PROVIDER_STATES[self.state]


def load_error(provider: AiProvider) -> str:
    """Return why this process cannot use a provider, "" when it can."""
    loaded = registry.get(provider.name)
    return loaded.error if loaded is not None else unsupported(provider.kind)


def with_key_counts(providers: QuerySet, now: datetime) -> QuerySet:
    """Add ``keys_total`` and ``keys_healthy`` to each provider."""
    keys = ApiKey.objects.filter(provider=OuterRef("pk"))
    return providers.annotate(
        keys_total=_count(keys),
        keys_healthy=_count(keys.filter(in_state(KeyState.VALID, now))),
    )


def _count(keys: QuerySet) -> Coalesce:
    counted = keys.order_by().values("provider").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted), 0)


def key_health(key: ApiKey, now: datetime) -> KeyHealth:
    """Return one key with its state."""
    return KeyHealth(key, key_state(key, now))


def provider_health(now: datetime) -> list[ProviderHealth]:
    """Return every live provider with its keys; two queries, secrets not read."""
    rows = AiProvider.objects.defer("secret_options")
    providers = {row.pk: ProviderHealth(row, error=load_error(row)) for row in rows}
    keys = ApiKey.objects.filter(provider__in=providers).defer("secret")
    for key in keys:
        providers[key.provider_id].keys.append(key_health(key, now))
    return sorted(providers.values(), key=lambda health: health.provider.name)

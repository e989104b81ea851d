"""A provider as requests see it: one live row, made ready, and its pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from providers.keypool import KeyPool
from providers.kinds import KindSpec


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """When a circuit breaker opens and closes; ``interval``, ``timeout`` in seconds."""

    threshold: int = 5
    interval: float = 10.0
    timeout: float = 30.0
    max_requests: int = 3


@dataclass(frozen=True, slots=True)
class Provider:
    """Everything a request needs to know of a provider; no query behind it.

    ``error`` says why the provider cannot be used, "" when it can. ``pool`` is None
    when there is no key in use. Times are seconds. ``secret_options`` is never logged.
    """

    id: UUID
    name: str
    kind: str
    spec: KindSpec
    base_url: str = ""
    display_name: str = ""
    enabled: bool = True
    error: str = ""
    policy: str = "retire"
    pool: KeyPool | None = None
    allow_byok: bool = True
    send_actor_headers: bool = False
    api_dump: bool = False
    connect_timeout: float = 10.0
    tls_timeout: float = 10.0
    total_timeout: float = 600.0
    idle_timeout: float = 300.0
    default_cooldown: float = 60.0
    quota_cooldown: float = 600.0
    max_cooldown: float = 3600.0
    probe_interval: float = 300.0
    breaker: BreakerOptions | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    secret_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

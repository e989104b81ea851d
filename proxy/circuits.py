"""The circuit breakers of this process, with their states made visible."""

from __future__ import annotations

from providers.registry import Provider
from proxy import errors, metrics
from proxy.breaker import Admission, BreakerOpen, Breakers, Change, State


class _Untold:
    """Stands for an admission where no breaker is configured."""

    def report(self, status: int | None) -> None:
        """Tell nobody."""


def _on_change(provider: str, change: Change) -> None:
    labels = (provider, change.endpoint, change.model)
    metrics.circuit_breaker_state.labels(*labels).set(change.after.gauge)
    if change.after is State.OPEN:
        metrics.circuit_breaker_trips_total.labels(*labels).inc()


breakers = Breakers(_on_change)
_untold = _Untold()


def admit(provider: Provider, route: str, model: str) -> Admission | _Untold:
    """Return an admission to report a status to; raises CircuitOpen when refused."""
    owner = breakers.of(provider.name, provider.kind, provider.breaker)
    if owner is None:
        return _untold
    try:
        return owner.guard(f"/{route}", model)
    except BreakerOpen as refused:
        metrics.circuit_breaker_rejects_total.labels(
            provider.name, f"/{route}", model
        ).inc()
        raise errors.CircuitOpen(refused.retry_after) from refused

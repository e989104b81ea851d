"""Counters for operators, in Prometheus' text format at /metrics.

Labels are bounded: never people, and no more than a fixed number of models and tools,
since those come from clients.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from proxy.dialects.base import Turn, Usage

_VALUES_MOST = 300
_OTHER = "other"

interceptions_total = Counter(
    "aibridge_interceptions_total",
    "Bridged requests that ended.",
    ["provider", "model", "outcome", "error_type", "route", "client"],
)
interceptions_inflight = Gauge(
    "aibridge_interceptions_inflight",
    "Bridged requests under way.",
    ["provider", "route"],
    multiprocess_mode="livesum",
)
interceptions_duration_seconds = Histogram(
    "aibridge_interceptions_duration_seconds",
    "Time from the request's body to the last byte of its answer.",
    ["provider", "model"],
    buckets=(0.5, 2, 5, 15, 30, 60, 120),
)
passthrough_total = Counter(
    "aibridge_passthrough_total",
    "Requests forwarded untouched.",
    ["provider", "route", "method"],
)
prompts_total = Counter(
    "aibridge_prompts_total", "Prompts seen.", ["provider", "model", "client"]
)
tokens_total = Counter(
    "aibridge_tokens_total",
    "Tokens, by type.",
    ["provider", "model", "type", "client"],
)
injected_tool_invocations_total = Counter(
    "aibridge_injected_tool_invocations_total",
    "Tools the gateway ran.",
    ["provider", "model", "server", "name"],
)
non_injected_tool_selections_total = Counter(
    "aibridge_non_injected_tool_selections_total",
    "Tools of clients or upstream that models chose.",
    ["provider", "model", "name"],
)
circuit_breaker_state = Gauge(
    "aibridge_circuit_breaker_state",
    "0 closed, 0.5 half-open, 1 open.",
    ["provider", "endpoint", "model"],
    multiprocess_mode="livemax",
)
circuit_breaker_trips_total = Counter(
    "aibridge_circuit_breaker_trips_total",
    "Transitions to open.",
    ["provider", "endpoint", "model"],
)
circuit_breaker_rejects_total = Counter(
    "aibridge_circuit_breaker_rejects_total",
    "Requests refused by an open breaker.",
    ["provider", "endpoint", "model"],
)
key_pool_exhaustions_total = Counter(
    "aibridge_key_pool_exhaustions_total",
    "Requests that found no key in service.",
    ["provider", "outcome"],
)
key_pool_state_transitions_total = Counter(
    "aibridge_key_pool_state_transitions_total",
    "Keys put out of service.",
    ["provider", "reason"],
)
key_pool_failover_attempts = Histogram(
    "aibridge_key_pool_failover_attempts",
    "Keys tried for one interception.",
    ["provider"],
    buckets=(1, 2, 3, 4, 5, 10, 25),
)


class _Bounded:
    """Lets through the first values it sees and calls the rest "other"."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._seen:
            return value
        if len(self._seen) >= _VALUES_MOST:
            return _OTHER
        self._seen.add(value)
        return value


_model_label = _Bounded()
_tool_label = _Bounded()


@lru_cache(maxsize=8192)
def _child(metric: Any, *labels: str) -> Any:
    """Return the metric's child with these labels; finding it anew costs more."""
    return metric.labels(*labels)


class Meter:
    """Counts one interception; made when it begins, ``end`` counts once."""

    def __init__(self, provider: str, model: str, route: str, client: str) -> None:
        self._provider = provider
        self._model = _model_label(model)
        self._route = f"/{route}"
        self._client = client
        self._started = time.monotonic()
        self._ended = False
        _child(interceptions_inflight, provider, self._route).inc()

    def prompt(self) -> None:
        """Count the request's prompt."""
        _child(prompts_total, self._provider, self._model, self._client).inc()

    def turn(self, turn: Turn) -> None:
        """Count the tokens and tools of one upstream answer."""
        if turn.usage is not None:
            self._tokens(turn.usage)
        for call in turn.tool_calls:
            _child(
                non_injected_tool_selections_total,
                self._provider,
                self._model,
                _tool_label(call.name),
            ).inc()

    def injected_tool(self, server: str, name: str) -> None:
        """Count a call of an MCP tool by the gateway."""
        _child(
            injected_tool_invocations_total, self._provider, self._model, server, name
        ).inc()

    def _tokens(self, usage: Usage) -> None:
        counts = {
            "input": usage.input,
            "output": usage.output,
            "cache_read_input_tokens": usage.cache_read_input,
            "cache_write_input_tokens": usage.cache_write_input,
            **usage.extra,
        }
        for kind, count in counts.items():
            if count > 0:
                _child(
                    tokens_total, self._provider, self._model, kind, self._client
                ).inc(count)

    def end(self, *, error_type: str, cancelled: bool, attempts: int) -> None:
        """Count the interception's end; later calls have no effect."""
        if self._ended:
            return
        self._ended = True
        outcome = "failed" if error_type else "cancelled" if cancelled else "completed"
        _child(interceptions_inflight, self._provider, self._route).dec()
        _child(
            interceptions_total,
            self._provider,
            self._model,
            outcome,
            error_type,
            self._route,
            self._client,
        ).inc()
        _child(interceptions_duration_seconds, self._provider, self._model).observe(
            time.monotonic() - self._started
        )
        if attempts:
            _child(key_pool_failover_attempts, self._provider).observe(attempts)

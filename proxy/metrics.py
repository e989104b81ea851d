"""Counters for operators, in Prometheus' text format at /metrics.

Labels are bounded: provider names, models and clients as recorded, never people.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

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
key_pool_failover_attempts = Histogram(
    "aibridge_key_pool_failover_attempts",
    "Keys tried for one interception.",
    ["provider"],
    buckets=(1, 2, 3, 4, 5, 10, 25),
)

"""The columns of made-up rows, table by table, in the order of their tuples."""

from __future__ import annotations

from typing import Any

COLUMNS: dict[str, tuple[str, ...]] = {
    "Interception": (
        "id", "initiator_id", "token_id", "provider_id", "provider_name",
        "provider_kind", "dialect", "route", "model", "streaming", "client",
        "user_agent", "client_session_id", "session_id", "thread_id",
        "thread_parent_id", "correlating_tool_call_id", "credential_kind",
        "credential_hint", "started_at", "first_byte_at", "ended_at", "cancelled",
        "error_type", "error_message", "status_code", "response_id", "stop_reason",
        "turns", "input_tokens", "output_tokens", "cache_read_input_tokens",
        "cache_write_input_tokens", "tool_calls", "worker", "metadata",
    ),
    "UserPrompt": ("id", "interception_id", "prompt", "created_at"),
    "TokenUsage": (
        "id", "interception_id", "turn", "provider_response_id", "input_tokens",
        "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens",
        "extra", "metadata", "created_at",
    ),
    "ToolUsage": (
        "id", "interception_id", "turn", "provider_response_id", "tool_call_id",
        "item_id", "kind", "tool", "input", "server_name", "server_url", "injected",
        "invocation_error", "duration_ms", "created_at",
    ),
    "ModelThought": (
        "id", "interception_id", "turn", "source", "content", "created_at",
    ),
    "Attempt": (
        "id", "interception_id", "turn", "position", "key_id", "key_hint", "status",
        "outcome", "retry_after", "cooldown", "upstream_request_id", "detail",
        "started_at", "headers_ms",
    ),
    "Session": (
        "id", "initiator_id", "session_id", "client", "user_agent", "provider_ids",
        "provider_names", "provider_kinds", "model_names", "started_at", "ended_at",
        "last_active_at", "last_prompt", "threads", "interceptions", "tool_calls",
        "failures", "input_tokens", "output_tokens", "cache_read_input_tokens",
        "cache_write_input_tokens",
    ),
}  # fmt: skip

Row = tuple[Any, ...]
Tables = dict[str, list[Row]]


def no_rows() -> Tables:
    """Return an empty list for each table."""
    return {name: [] for name in COLUMNS}

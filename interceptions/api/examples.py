"""Examples in the API's description; a test checks them against it."""

from __future__ import annotations

from typing import Any

_ID = "01990b7c-4c00-7d3e-9f21-5b6a7c8d9e0f"
_WHO = {"id": 7, "username": "dev-7", "name": "dev-7"}
_TOKENS = {
    "input_tokens": 12,
    "output_tokens": 80,
    "cache_read_input_tokens": 4000,
    "cache_write_input_tokens": 0,
}
_SUMMARY = _TOKENS | {"metadata": {"reasoning": 16}}
_START, _END = "2026-05-20T10:00:00Z", "2026-05-20T10:00:09Z"
_TOOL: dict[str, Any] = {
    "id": "01990b7c-4c02-7a00-8000-000000000001",
    "provider_response_id": "msg_1",
    "tool_call_id": "toolu_1",
    "item_id": "",
    "kind": "function",
    "tool": "Bash",
    "input": '{"command": "ls"}',
    "server_name": "",
    "server_url": "",
    "injected": False,
    "invocation_error": "",
    "duration_ms": None,
    "created_at": _END,
}
_TRY: dict[str, Any] = {
    "position": 0,
    "key_id": "01990b7c-2f30-7a51-9d5e-6d2b6d3e8f01",
    "key_hint": "sk-a...9xQ2",
    "status": 200,
    "outcome": "accepted",
    "retry_after": None,
    "cooldown": None,
    "headers_ms": 340,
}
_INTERCEPTION: dict[str, Any] = {
    "id": _ID,
    "token_id": "01990b7c-3a10-7b02-8c1d-9e0f1a2b3c4d",
    "provider_id": "01990b7c-2f2f-7c11-8a37-2f4b8a1d3c44",
    "thread_id": _ID,
    "thread_parent_id": None,
    "started_at": _START,
    "first_byte_at": "2026-05-20T10:00:01Z",
    "ended_at": _END,
    "duration_ms": 9000,
    "initiator": _WHO,
    "provider_name": "anthropic-eu",
    "provider_kind": "anthropic",
    "dialect": "anthropic_messages",
    "route": "v1/messages",
    "model": "claude-sonnet-4-5",
    "streaming": True,
    "client": "Claude Code",
    "user_agent": "claude-cli/2.1",
    "session_id": "b1b7f0f2-6a50-4f2e-9d0a-1c2d3e4f5a6b",
    "client_session_id": "b1b7f0f2-6a50-4f2e-9d0a-1c2d3e4f5a6b",
    "correlating_tool_call_id": None,
    "credential_kind": "centralized",
    "credential_hint": "sk-a...9xQ2",
    "outcome": "completed",
    "error_type": None,
    "error_message": None,
    "status_code": 200,
    "response_id": "msg_1",
    "stop_reason": "tool_use",
    "turns": 1,
    "tool_calls": 1,
    "metadata": {},
    "is_thread_root": True,
    "token_usage": _TOKENS,
    "prompts": [
        {
            "id": "01990b7c-4c01-7a00-8000-000000000001",
            "prompt": "fix the test",
            "created_at": _START,
        }
    ],
    "token_usages": [
        {
            "id": "01990b7c-4c03-7a00-8000-000000000001",
            "turn": 0,
            "provider_response_id": "msg_1",
            **_TOKENS,
            "extra": {"reasoning": 16},
            "metadata": {},
            "created_at": _END,
        }
    ],
    "tool_usages": [_TOOL | {"turn": 0}],
    "thoughts": [
        {
            "id": "01990b7c-4c04-7a00-8000-000000000001",
            "turn": 0,
            "source": "thinking",
            "content": "I should list the files.",
            "created_at": _END,
        }
    ],
    "attempts": [
        {
            "id": "01990b7c-4c05-7a00-8000-000000000001",
            "turn": 0,
            **_TRY,
            "upstream_request_id": "req_1",
            "detail": "",
            "started_at": _START,
        }
    ],
}
_SESSION: dict[str, Any] = {
    "id": "01990b7c-4bff-7c00-8000-000000000001",
    "session_id": "b1b7f0f2-6a50-4f2e-9d0a-1c2d3e4f5a6b",
    "initiator": _WHO,
    "client": "Claude Code",
    "user_agent": "claude-cli/2.1",
    "providers": ["anthropic-eu"],
    "models": ["claude-sonnet-4-5"],
    "started_at": _START,
    "ended_at": _END,
    "last_active_at": _END,
    "last_prompt": "fix the test",
    "interceptions": 1,
    "tool_calls": 1,
    "failures": 0,
}
_THREAD: dict[str, Any] = {
    "id": _ID,
    "root_is_here": True,
    "prompt": "fix the test",
    "model": "claude-sonnet-4-5",
    "models": ["claude-sonnet-4-5"],
    "provider": "anthropic-eu",
    "providers": ["anthropic-eu"],
    "credential_kind": "centralized",
    "credential_hint": "sk-a...9xQ2",
    "credentials": [{"kind": "centralized", "hint": "sk-a...9xQ2"}],
    "started_at": _START,
    "ended_at": _END,
    "outcome": "completed",
    "interceptions": 1,
    "token_usage": _SUMMARY,
    "error_type": None,
    "error_message": None,
    "errors": [],
    "agentic_actions": [
        {
            "interception_id": _ID,
            "turn": 0,
            "model": "claude-sonnet-4-5",
            "provider": "anthropic-eu",
            "started_at": _START,
            "ended_at": _END,
            "duration_ms": 9000,
            "outcome": "completed",
            "error_type": None,
            "error_message": None,
            "credential_kind": "centralized",
            "credential_hint": "sk-a...9xQ2",
            "token_usage": _SUMMARY,
            "thinking": [{"source": "thinking", "text": "I should list the files."}],
            "tool_calls": [_TOOL | {"interception_id": _ID}],
            "attempts": [_TRY],
        }
    ],
}
_PAGE = {"count": 1, "count_is_capped": False, "next": None, "previous": None}

REQUESTS: dict[str, Any] = {}
RESPONSES: dict[str, Any] = {
    "interceptions_list": _PAGE | {"results": [_INTERCEPTION]},
    "interceptions_retrieve": _INTERCEPTION,
    "sessions_list": _PAGE
    | {"sessions": [_SESSION | {"threads": 1, "token_usage_summary": _TOKENS}]},
    "sessions_retrieve": _SESSION
    | {
        "thread_count": 1,
        "token_usage_summary": _SUMMARY,
        "page_started_at": _START,
        "page_ended_at": _END,
        "threads": [_THREAD],
        "next": None,
        "previous": None,
    },
    "models_list": ["claude-haiku-4-5", "gpt-5.2"],
    "clients_list": ["Claude Code", "Codex"],
    "provider_names_list": [
        {
            "id": "01990b7c-2f2f-7c11-8a37-2f4b8a1d3c44",
            "name": "anthropic-eu",
            "kind": "anthropic",
            "display_name": "Anthropic EU",
            "enabled": True,
            "deleted": False,
        }
    ],
}

"""Examples in the API's description; a test checks them against it."""

from __future__ import annotations

from typing import Any

_KEY: dict[str, Any] = {
    "id": "01990b7c-2f30-7a51-9d5e-6d2b6d3e8f01",
    "position": 0,
    "label": "team account",
    "hint": "sk-a...9xQ2",
    "enabled": True,
    "health": {
        "state": "temporary",
        "until": "2026-05-20T10:00:30Z",
        "reason": "rate_limited",
        "last_status": 429,
        "last_error": "slow down",
        "last_error_at": "2026-05-20T10:00:00Z",
        "last_used_at": "2026-05-20T10:00:00Z",
        "probed_at": None,
    },
    "created_at": "2026-05-01T08:00:00Z",
    "updated_at": "2026-05-20T10:00:00Z",
}
_PROVIDER: dict[str, Any] = {
    "id": "01990b7c-2f2f-7c11-8a37-2f4b8a1d3c44",
    "kind": "anthropic",
    "name": "anthropic-eu",
    "display_name": "Anthropic EU",
    "base_url": "https://api.anthropic.com",
    "enabled": True,
    "auth_failure_policy": "retire",
    "max_cooldown": 3600,
    "probe_interval": 300,
    "allow_byok": True,
    "send_actor_headers": False,
    "api_dump": False,
    "connect_timeout": 10.0,
    "tls_timeout": 10.0,
    "total_timeout": 600.0,
    "idle_timeout": 300.0,
    "breaker_enabled": False,
    "breaker_threshold": 5,
    "breaker_interval": 10.0,
    "breaker_timeout": 30.0,
    "breaker_max_requests": 3,
    "settings": None,
    "api_keys": [_KEY],
    "created_at": "2026-05-01T08:00:00Z",
    "updated_at": "2026-05-20T10:00:00Z",
    "deleted_at": None,
}

REQUESTS: dict[str, Any] = {
    "providers_create": {
        "kind": "anthropic",
        "name": "anthropic-eu",
        "display_name": "Anthropic EU",
        "base_url": "https://api.anthropic.com",
        "api_keys": ["<first-key>", "<second-key>"],
    },
    "providers_partial_update": {
        "enabled": False,
        "api_keys": [{"id": _KEY["id"]}, {"api_key": "<another-key>"}],
    },
    "keys_create": {"api_key": "<key>", "label": "team account"},
    "keys_partial_update": {"label": "team account", "enabled": True},
    "keys_reorder": {"ids": [_KEY["id"]]},
    "keys_rotate": {"api_key": "<new-key>"},
}
RESPONSES: dict[str, Any] = {
    "providers_list": [_PROVIDER],
    "providers_create": _PROVIDER,
    "providers_retrieve": _PROVIDER,
    "providers_partial_update": _PROVIDER,
    "providers_restore": _PROVIDER | {"enabled": False},
    "keys_list": [_KEY],
    "keys_create": _KEY,
    "keys_retrieve": _KEY,
    "keys_partial_update": _KEY,
    "keys_reorder": [_KEY],
    "keys_rotate": _KEY,
    "keys_return": _KEY,
    "keys_test": {
        "ok": True,
        "status": 200,
        "message": "The key works.",
        "ms": 212,
        "key": _KEY,
    },
}

"""Examples in the API's description; a test checks them against it."""

from __future__ import annotations

from typing import Any

_TOKEN: dict[str, Any] = {
    "id": "01990b7c-3a10-7b02-8c1d-9e0f1a2b3c4d",
    "name": "laptop",
    "prefix": "0a1b2c3d",
    "owner": {"id": 7, "username": "dev-7"},
    "state": "active",
    "created_at": "2026-05-20T10:00:00Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
}

REQUESTS: dict[str, Any] = {
    "tokens_create": {"name": "laptop", "expires_at": "2099-01-01T00:00:00Z"},
    "tokens_partial_update": {"name": "desktop"},
}
RESPONSES: dict[str, Any] = {
    "tokens_list": {
        "count": 1,
        "count_is_capped": False,
        "next": None,
        "previous": None,
        "results": [_TOKEN],
    },
    "tokens_create": _TOKEN | {"token": "aib_0a1b2c3d_…"},
    "tokens_retrieve": _TOKEN,
    "tokens_partial_update": _TOKEN | {"name": "desktop"},
}

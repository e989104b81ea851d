"""Makes rows for tests: people, providers, and interceptions with their facts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import get_user_model

from interceptions import recorder
from interceptions.models import Interception
from providers.ids import new_id
from providers.models import AiProvider

_START: dict[str, Any] = {
    "token_id": None,
    "provider_id": None,
    "provider_name": "claude",
    "provider_kind": "anthropic",
    "dialect": "anthropic_messages",
    "route": "v1/messages",
    "model": "claude-sonnet-4-5",
    "streaming": True,
    "client": "Claude Code",
    "user_agent": "claude-cli/2.1",
    "client_session_id": None,
    "correlating_tool_call_id": None,
    "credential_kind": "centralized",
    "credential_hint": "",
    "prompt": "fix the test",
    "metadata": {},
}
_ATTEMPT: dict[str, Any] = {
    "turn": 0,
    "key_id": None,
    "key_hint": "sk-a...9xQ2",
    "status": 200,
    "outcome": "accepted",
    "retry_after": None,
    "cooldown": None,
    "upstream_request_id": "req_1",
    "detail": "",
    "headers_ms": 12,
}


def make_user(name: str) -> Any:
    return get_user_model().objects.create_user(name)


def start_facts(user: Any, **changes: Any) -> recorder.Start:
    return recorder.Start(initiator_id=user.pk, **_START | changes)


def attempt_facts(**changes: Any) -> dict[str, Any]:
    return _ATTEMPT | {"started_at": datetime.now(UTC)} | changes


def make_provider(name: str, kind: str = "anthropic", **fields: Any) -> AiProvider:
    return AiProvider.all_objects.create(
        name=name, kind=kind, base_url="https://api.example.com", **fields
    )


def make_interception(user: Any, **fields: Any) -> Interception:
    """Store a row as it is, without the recorder."""
    own = new_id()
    given = {
        "id": own,
        "session_id": str(own),
        "thread_id": own,
        "provider_name": "claude",
        "provider_kind": "anthropic",
        "dialect": "anthropic_messages",
        "started_at": datetime.now(UTC),
    }
    return Interception.objects.create(initiator=user, **given | fields)

"""The three APIs as a client calls them, for tests that run over all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True)
class Api:
    """One API: the kind that serves it, its route, and a small request."""

    name: str
    kind: str
    route: str
    request: dict[str, Any] = field(default_factory=dict)
    terminal: bytes = b""

    def body(self, *, streaming: bool, **changes: Any) -> dict[str, Any]:
        return self.request | ({"stream": True} if streaming else {}) | changes

    def call(
        self,
        base: str,
        provider: str,
        token: str,
        *,
        streaming: bool = False,
        headers: dict[str, str] | None = None,
        **changes: Any,
    ) -> httpx.Response:
        """POST the request and return the whole answer."""
        return httpx.post(
            f"{base}/aibridge/{provider}/{self.route}",
            json=self.body(streaming=streaming, **changes),
            headers={"Authorization": f"Bearer {token}"} | (headers or {}),
            timeout=60,
        )


MESSAGES = Api(
    "messages",
    "anthropic",
    "v1/messages",
    {
        "model": "claude-opus-4-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "hi"}],
    },
    b"event: message_stop",
)
CHAT = Api(
    "chat",
    "openai",
    "v1/chat/completions",
    {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]},
    b"data: [DONE]",
)
RESPONSES = Api(
    "responses",
    "openai",
    "v1/responses",
    {"model": "gpt-5.2", "input": "hi"},
    b"event: response.completed",
)
APIS = (MESSAGES, CHAT, RESPONSES)

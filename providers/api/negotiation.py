"""Which format an answer has: the view's first one, whatever the client accepts."""

from __future__ import annotations

from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request


class OneRenderer(DefaultContentNegotiation):
    """Answers in the view's first format, whatever the client says it accepts."""

    def select_renderer(
        self, request: Request, renderers: list[Any], format_suffix: str | None = None
    ) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type

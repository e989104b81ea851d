"""Answers of all three APIs, made from one plain reply; pure.

Used by the demo provider, and by the tests' fake upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from proxy.demo.chat import chat_body, chat_events
from proxy.demo.messages import messages_body, messages_events
from proxy.demo.reply import Json, Reply
from proxy.demo.responses import responses_body, responses_events

MESSAGES = "anthropic_messages"
CHAT = "openai_chat"
RESPONSES = "openai_responses"


def answer_body(api: str, reply: Reply) -> Json:
    """Return the body of a blocking answer."""
    return _BODIES[api](reply)


def answer_events(
    api: str, reply: Reply, *, include_usage: bool = True
) -> Iterator[bytes]:
    """Yield a streamed answer, one whole server-sent event at a time.

    ``include_usage`` is Chat's stream option of that name.
    """
    if api == CHAT:
        return chat_events(reply, include_usage)
    return messages_events(reply) if api == MESSAGES else responses_events(reply)


def error_body(api: str, error_type: str, message: str) -> Json:
    """Return an error in the API's own envelope."""
    if api == MESSAGES:
        return {"type": "error", "error": {"type": error_type, "message": message}}
    error = {"message": message, "type": error_type, "param": None, "code": error_type}
    return {"error": error}


_BODIES: dict[str, Callable[[Reply], Json]] = {
    MESSAGES: messages_body,
    CHAT: chat_body,
    RESPONSES: responses_body,
}

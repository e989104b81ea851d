"""A session with one page of its threads as JSON."""

from __future__ import annotations

from dataclasses import asdict

from interceptions.api.payloads import Payload, duration_ms, initiator_payload
from interceptions.models import Attempt, Interception, Session, ToolUsage
from interceptions.threads import (
    AgenticAction,
    Thread,
    ThreadPage,
    token_metadata,
)
from interceptions.tokens import COUNTS


def thread_page_payload(page: ThreadPage) -> Payload:
    """Return what is true of the whole session, and the page's threads."""
    return _session(page.session) | {
        "thread_count": page.total,
        "page_started_at": page.started_at,
        "page_ended_at": page.ended_at,
        "threads": [_thread(thread) for thread in page.threads],
    }


def _session(session: Session) -> Payload:
    user = session.initiator
    summary = {name: getattr(session, name) for name in COUNTS}
    return {
        "id": session.id,
        "session_id": session.session_id,
        "initiator": initiator_payload(
            {
                "initiator_id": user.pk,
                "initiator__username": user.get_username(),
                "initiator__first_name": user.first_name,
                "initiator__last_name": user.last_name,
            }
        ),
        "client": session.client,
        "user_agent": session.user_agent,
        "providers": session.provider_names,
        "models": session.model_names,
        "started_at": session.started_at,
        "ended_at": session.ended_at,
        "last_active_at": session.last_active_at,
        "last_prompt": session.last_prompt,
        "interceptions": session.interceptions,
        "tool_calls": session.tool_calls,
        "failures": session.failures,
        "token_usage_summary": summary | {"metadata": token_metadata(session)},
    }


def _thread(thread: Thread) -> Payload:
    failed = thread.errors[-1] if thread.errors else None
    return {
        "id": thread.id,
        "root_is_here": thread.root.is_thread_root,
        "prompt": thread.prompt,
        "model": thread.root.model,
        "models": thread.models,
        "provider": thread.root.provider_name,
        "providers": thread.provider_names,
        "credential_kind": thread.root.credential_kind,
        "credential_hint": thread.root.credential_hint,
        "credentials": [
            {"kind": kind, "hint": hint} for kind, hint in thread.credentials
        ],
        "started_at": thread.started_at,
        "ended_at": thread.ended_at,
        "outcome": str(thread.outcome),
        "interceptions": len(thread.interceptions),
        "token_usage": asdict(thread.tokens),
        "error_type": failed.error_type if failed else None,
        "error_message": failed.error_message if failed else None,
        "errors": [_error(each) for each in thread.errors],
        "agentic_actions": [_action(action) for action in thread.actions],
    }


def _error(interception: Interception) -> Payload:
    return {
        "interception_id": interception.id,
        "error_type": interception.error_type,
        "error_message": interception.error_message,
        "at": interception.ended_at or interception.started_at,
    }


def _action(action: AgenticAction) -> Payload:
    interception = action.interception
    return {
        "interception_id": interception.id,
        "turn": action.turn,
        "model": interception.model,
        "provider": interception.provider_name,
        "started_at": interception.started_at,
        "ended_at": interception.ended_at,
        "duration_ms": duration_ms(interception.started_at, interception.ended_at),
        "outcome": interception.outcome,
        "error_type": action.error_type,
        "error_message": action.error_message,
        "credential_kind": interception.credential_kind,
        "credential_hint": interception.credential_hint,
        "token_usage": asdict(action.tokens),
        "thinking": [
            {"source": thought.source, "text": thought.content}
            for thought in action.thoughts
        ],
        "tool_calls": [_tool_call(call) for call in action.tool_calls],
        "attempts": [_attempt(attempt) for attempt in action.attempts],
    }


def _tool_call(call: ToolUsage) -> Payload:
    names = (
        "tool_call_id", "item_id", "kind", "tool", "input", "server_name",
        "server_url", "injected", "invocation_error", "duration_ms",
        "provider_response_id",
    )  # fmt: skip
    return {
        "id": call.id,
        "interception_id": call.interception_id,
        **{name: getattr(call, name) for name in names},
        "created_at": call.created_at,
    }


def _attempt(attempt: Attempt) -> Payload:
    return {
        "position": attempt.position,
        "key_id": attempt.key_id,
        "key_hint": attempt.key_hint,
        "status": attempt.status,
        "outcome": attempt.outcome,
        "retry_after": attempt.retry_after,
        "cooldown": attempt.cooldown,
        "headers_ms": attempt.headers_ms,
    }

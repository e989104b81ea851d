"""One interception as its page shows it: facts, attempts told as a story, and turns."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Model

from interceptions import timeline
from interceptions.choices import AttemptOutcome
from interceptions.models import (
    Attempt,
    Interception,
    ModelThought,
    Session,
    ToolUsage,
    UserPrompt,
)
from interceptions.plaintext import visible
from interceptions.threads import actions_of
from interceptions.tokens import Tokens

_TEXTS: dict[str, tuple[type[Model], str]] = {
    "prompt": (UserPrompt, "prompt"),
    "thought": (ModelThought, "content"),
    "input": (ToolUsage, "input"),
    "error": (ToolUsage, "invocation_error"),
}


def describe(row: Interception, user: Any) -> dict[str, Any]:
    """Return the context of an interception's page; a fixed number of queries."""
    rows = Interception.objects.filter(pk=row.pk).select_related(
        "initiator", "token", "provider", "thread_parent"
    )
    (row,) = timeline.with_heads(rows)
    actions = actions_of(row)
    attempts = [one for action in actions for one in action.attempts]
    session = Session.objects.filter(
        initiator=row.initiator_id, session_id=row.session_id
    ).first()
    return {
        "row": row,
        "actions": actions,
        "attempts": attempts,
        "story": story(attempts),
        "prompt": next(iter(row.own_prompts), None),
        "total": Tokens.sum(action.tokens for action in actions),
        "session": session,
        "duration_ms": _between(row.started_at, row.ended_at),
        "first_byte_ms": _between(row.started_at, row.first_byte_at),
        "sees_provider": user.has_perm("providers.view_aiprovider"),
        "sees_keys": user.has_perm("providers.view_apikey"),
    }


def _between(start: Any, end: Any) -> float | None:
    return (end - start).total_seconds() * 1000 if start and end else None


def story(attempts: list[Attempt]) -> str:
    """Return the attempts as a sentence.

    For example "sk-a...9xQ2: 429, rests 30 s → sk-b...77aa: 200 in 412 ms".
    """
    return " → ".join(_sentence(one) for one in attempts)


def _sentence(one: Attempt) -> str:
    said = str(one.status) if one.status else AttemptOutcome(one.outcome).label.lower()
    if one.outcome == AttemptOutcome.ACCEPTED and one.headers_ms is not None:
        said += f" in {one.headers_ms} ms"
    elif one.cooldown:
        said += f", rests {_seconds(one.cooldown)}"
    elif one.outcome in {AttemptOutcome.UNAUTHORIZED, AttemptOutcome.FORBIDDEN}:
        said += ", retired"
    return f"{one.key_hint or 'no key'}: {said}"


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def whole_text(row: Interception, kind: str, pk: UUID) -> str | None:
    """Return all of a text that belongs to the interception, None when it does not."""
    if kind not in _TEXTS:
        return None
    model, name = _TEXTS[kind]
    found = model._base_manager.filter(pk=pk, interception=row)
    text = found.values_list(name, flat=True).first()
    return None if text is None else visible(text)

"""Read side of a session: its threads, and the agentic actions in them.

Knows rows, not pages or JSON.

1. A session is one initiator's: two users who send the same session id have two.
2. A thread is what shares a thread id within the session, ordered by the root's id.
   When the root is gone (retention) or in another session, the first interception that
   is left speaks for it.
3. Every turn of every interception is an action: also one without a tool, and also an
   interception that failed before its first turn.
4. The sums of a session come from its roll-up, those of a thread from its own rows, so
   neither depends on the page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.cache import cache
from django.db.models import Model, Prefetch, QuerySet

from interceptions.choices import Outcome
from interceptions.models import (
    Attempt,
    Interception,
    ModelThought,
    Session,
    TokenUsage,
    ToolUsage,
    UserPrompt,
)
from interceptions.tokens import Tokens, sum_of_metadata

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class UnknownThread(ValueError):
    """The cursor names no thread of this session."""


@dataclass(slots=True)
class AgenticAction:
    """One turn: what the model thought, which tools it called, and what it cost.

    ``is_last`` marks the interception's last turn, the one an error belongs to.
    """

    interception: Interception
    turn: int
    is_last: bool = False
    thoughts: list[ModelThought] = field(default_factory=list)
    tool_calls: list[ToolUsage] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    tokens: Tokens = field(default_factory=Tokens)

    @property
    def error_type(self) -> str | None:
        return self.interception.error_type if self.is_last else None

    @property
    def error_message(self) -> str | None:
        return self.interception.error_message if self.is_last else None


@dataclass(slots=True)
class Thread:
    """One human prompt and the loop that followed; ``interceptions`` is never empty."""

    id: UUID
    interceptions: list[Interception]
    actions: list[AgenticAction] = field(default_factory=list)

    @property
    def root(self) -> Interception:
        """The thread's root, or the first interception left of it."""
        return self.interceptions[0]

    @property
    def prompt(self) -> str:
        """The root's prompt, else the first one that is left, else ""."""
        prompts = (row.prompt for each in self.interceptions for row in _prompts(each))
        return next(prompts, "")

    @property
    def models(self) -> list[str]:
        """The models asked for, the root's first."""
        return _unique(each.model for each in self.interceptions)

    @property
    def provider_names(self) -> list[str]:
        """The providers used, the root's first."""
        return _unique(each.provider_name for each in self.interceptions)

    @property
    def credentials(self) -> list[tuple[str, str]]:
        """Each (credential kind, hint) used, in order."""
        return _unique(
            (each.credential_kind, each.credential_hint) for each in self.interceptions
        )

    @property
    def errors(self) -> list[Interception]:
        """Every interception of the loop that failed, in order."""
        return [each for each in self.interceptions if each.error_type]

    @property
    def started_at(self) -> datetime:
        return self.root.started_at

    @property
    def ended_at(self) -> datetime | None:
        """When the last interception ended, None while one is in progress."""
        ends = [each.ended_at for each in self.interceptions]
        return None if None in ends else max(filter(None, ends))

    @property
    def outcome(self) -> str:
        """In progress when anything is; else how the last interception ended."""
        if self.ended_at is None:
            return Outcome.IN_PROGRESS
        return self.interceptions[-1].outcome

    @property
    def tokens(self) -> Tokens:
        return Tokens.sum(action.tokens for action in self.actions)

    @property
    def tool_call_count(self) -> int:
        return sum(len(action.tool_calls) for action in self.actions)


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """Threads of a session in order, and whether there are more on either side.

    ``total`` counts the threads of the whole session.
    """

    session: Session
    threads: list[Thread]
    total: int
    has_previous: bool = False
    has_next: bool = False

    @property
    def started_at(self) -> datetime | None:
        return self.threads[0].started_at if self.threads else None

    @property
    def ended_at(self) -> datetime | None:
        """When the page's last activity ended, None while one is in progress."""
        ends = [thread.ended_at for thread in self.threads]
        return None if None in ends else max(filter(None, ends), default=None)


_KEPT_SECONDS = 3600


def load_page(
    session: Session,
    *,
    after: UUID | None = None,
    before: UUID | None = None,
    limit: int = DEFAULT_LIMIT,
) -> ThreadPage:
    """Return the ``limit`` threads next to a cursor, or the first ones.

    ``after`` and ``before`` are thread ids, at most one of them given: the page that
    follows it, or the nearest one ahead of it. Raises UnknownThread.
    """
    rows = of_session(session)
    cursor = after or before
    if cursor is not None and not rows.filter(thread_id=cursor).exists():
        raise UnknownThread(f"thread {cursor} is not in this session")
    found = _thread_ids(rows, after, before, limit + 1)
    ids, more = found[:limit], len(found) > limit
    if before is not None:
        ids.reverse()
    return ThreadPage(
        session,
        _load(rows, ids),
        total=session.threads,
        has_previous=more if before is not None else after is not None,
        has_next=more if before is None else True,
    )


def of_session(session: Session) -> QuerySet:
    """Return a session's interceptions, the oldest first."""
    return Interception.objects.filter(
        initiator_id=session.initiator_id, session_id=session.session_id
    ).order_by("id")


def token_metadata(session: Session) -> dict[str, float]:
    """Return the summed further counts of a whole session, by flattened name.

    The sum of a long session takes a while, and is kept until the session goes on.
    """
    state = (session.interceptions, session.ended_at, session.output_tokens)
    key = f"aibridge:session-metadata:{session.pk}"
    known, metadata = cache.get(key, (None, {}))
    if known != state:
        metadata = _sum_up(session)
        cache.set(key, (state, metadata), _KEPT_SECONDS)
    return metadata


def _sum_up(session: Session) -> dict[str, float]:
    usages = TokenUsage.objects.filter(
        interception__initiator_id=session.initiator_id,
        interception__session_id=session.session_id,
    )
    return sum_of_metadata(usages.order_by())


def _thread_ids(
    rows: QuerySet, after: UUID | None, before: UUID | None, limit: int
) -> list[UUID]:
    ids = rows.order_by("thread_id" if before is None else "-thread_id")
    if after is not None:
        ids = ids.filter(thread_id__gt=after)
    if before is not None:
        ids = ids.filter(thread_id__lt=before)
    return list(ids.values_list("thread_id", flat=True).distinct()[:limit])


def _load(rows: QuerySet, ids: list[UUID]) -> list[Thread]:
    if not ids:
        return []
    grouped: dict[UUID, list[Interception]] = defaultdict(list)
    for each in with_parts(rows.filter(thread_id__in=ids).order_by("id")):
        grouped[each.thread_id].append(each)
    return [
        Thread(id, grouped[id], list(_actions(grouped[id])))
        for id in ids
        if id in grouped
    ]


_PARTS: dict[str, tuple[type[Model], tuple[str, ...]]] = {
    "prompts": (UserPrompt, ("id",)),
    "token_usages": (TokenUsage, ("turn", "id")),
    "tool_usages": (ToolUsage, ("turn", "id")),
    "thoughts": (ModelThought, ("turn", "id")),
    "attempts": (Attempt, ("turn", "position")),
}


def with_parts(rows: QuerySet, **read: QuerySet) -> list[Interception]:
    """Return the interceptions with all that belongs to them, in six queries.

    Each gets lists, such as ``own_prompts``, whose rows do not know where they belong.
    ``read`` says how to read a part, where that is not to be whole.
    """
    parts = (
        # Lists, since a queryset for each part of each row takes longer than the query.
        Prefetch(
            name,
            read.get(name, model._base_manager.all()).order_by(*order),
            to_attr=f"own_{name}",
        )
        for name, (model, order) in _PARTS.items()
    )
    found = list(rows.prefetch_related(*parts))
    for each in found:
        for name in _PARTS:
            for row in getattr(each, f"own_{name}"):
                # What refers to its owner stays until Python looks for garbage, for
                # which all requests wait.
                row._state.fields_cache.pop("interception", None)
    return found


def _actions(interceptions: Iterable[Interception]) -> Iterator[AgenticAction]:
    for interception in interceptions:
        yield from actions_of(interception)


def actions_of(interception: Interception) -> list[AgenticAction]:
    """Return an interception's turns in order, at least one."""
    turns: dict[int, AgenticAction] = {}

    def action(row: Any) -> AgenticAction:
        return turns.setdefault(row.turn, AgenticAction(interception, row.turn))

    for thought in interception.own_thoughts:
        action(thought).thoughts.append(thought)
    for call in interception.own_tool_usages:
        action(call).tool_calls.append(call)
    for usage in interception.own_token_usages:
        action(usage).tokens.add_usage(usage)
    for attempt in interception.own_attempts:
        action(attempt).attempts.append(attempt)
    if not turns:
        turns[0] = AgenticAction(interception, 0)
    turns[max(turns)].is_last = True
    return [turns[turn] for turn in sorted(turns)]


def _prompts(interception: Interception) -> Iterable[UserPrompt]:
    return interception.own_prompts


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(value for value in values if value))

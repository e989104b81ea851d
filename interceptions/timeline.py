"""A session as a page shows it: a screenful of steps, and where the next ones are.

Long texts are read as their beginnings only, and long threads a part at a time, so that
the first screen costs the same for ten steps and for ten thousand.

A step is one interception; its turns are the agentic actions of ``threads``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Min, Prefetch, Q, QuerySet, Sum
from django.db.models.functions import Left, Length
from django.utils import timezone

from interceptions.choices import Outcome
from interceptions.models import (
    Attempt,
    Interception,
    ModelThought,
    Session,
    ToolUsage,
    UserPrompt,
)
from interceptions.threads import AgenticAction, actions_of, of_session

STEPS = 30
"""Steps of one thread that are shown at once."""
SCREEN = 40
"""Steps after which no further thread is begun."""
THREADS = 20
HEAD = 700
"""Characters of a text that are read for the page."""
LIVE = timedelta(minutes=10)
FOUND = 50


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a stored text: ``kind`` and ``pk`` say where all of it is."""

    kind: str
    pk: UUID
    text: str
    size: int


@dataclass(slots=True)
class Step:
    """One interception with its turns; ``prompt`` only when it is one of its own."""

    interception: Interception
    actions: list[AgenticAction]
    prompt: Head | None = None

    @property
    def attempts(self) -> list[Attempt]:
        return [one for action in self.actions for one in action.attempts]

    @property
    def failed_over(self) -> bool:
        """Whether more than one key was tried."""
        return len({one.key_hint for one in self.attempts}) > 1


@dataclass(slots=True)
class ThreadPart:
    """Consecutive steps of a thread, and the sums of all of it."""

    id: UUID
    total: int
    failures: int
    started_at: datetime
    ended_at: datetime | None
    input_tokens: int
    output_tokens: int
    tool_calls: int
    prompt: Head | None = None
    steps: list[Step] = field(default_factory=list)
    starts_late: bool = False
    more_after: UUID | None = None

    @property
    def duration_ms(self) -> float | None:
        if self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds() * 1000

    @property
    def models(self) -> list[str]:
        names = (step.interception.model for step in self.steps)
        return list(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True, slots=True)
class Screen:
    """Threads in order; ``more_after`` is the last one when further ones follow."""

    threads: list[ThreadPart]
    more_after: UUID | None = None


def load_screen(
    session: Session, *, after: UUID | None = None, at: Interception | None = None
) -> Screen:
    """Return the threads that follow a thread, or begin with the one of a step."""
    rows = of_session(session)
    groups = _groups(rows)
    if at is not None:
        groups = groups.filter(thread_id__gte=at.thread_id)
    elif after is not None:
        groups = groups.filter(thread_id__gt=after)
    found = list(groups[: THREADS + 1])
    chosen = _fill_screen(found[:THREADS])
    parts = [_part(group) for group in chosen]
    _load_steps(rows, parts, at)
    more = len(found) > len(chosen)
    return Screen(parts, parts[-1].id if parts and more else None)


def load_steps(session: Session, thread_id: UUID, after: UUID) -> ThreadPart | None:
    """Return the part of a thread that follows a step, None when there is none."""
    rows = of_session(session).filter(thread_id=thread_id)
    steps = list(_with_heads(rows.filter(id__gt=after))[: STEPS + 1])
    group = _groups(rows).first()
    if group is None or not steps:
        return None
    part = _part(group)
    part.starts_late = True
    _fill(part, steps)
    return part


def load_changed(session: Session, since: datetime) -> list[Step]:
    """Return the steps that began or ended since a moment, at most a screenful."""
    changed = Q(started_at__gte=since) | Q(ended_at__gte=since) | Q(ended_at=None)
    recent = of_session(session).filter(changed).order_by("-id")
    return [_step(row) for row in reversed(_with_heads(recent)[:SCREEN])]


def is_live(session: Session) -> bool:
    """Whether something may still happen in this session."""
    return session.last_active_at > timezone.now() - LIVE


def version(session: Session) -> tuple[Any, ...]:
    """Return what differs after anything happened in the session; two cheap queries."""
    rolled_up = Session.objects.filter(pk=session.pk).values_list(
        "last_active_at", "ended_at", "interceptions", "tool_calls", "failures"
    )
    open_steps = of_session(session).filter(ended_at=None).aggregate(n=Count("pk"))
    return (*(rolled_up.first() or ()), open_steps["n"])


def _groups(rows: QuerySet) -> QuerySet:
    return (
        rows.order_by("thread_id")
        .values("thread_id")
        .annotate(
            total=Count("pk"),
            failures=Count("pk", filter=Q(outcome=Outcome.FAILED)),
            open=Count("pk", filter=Q(ended_at=None)),
            started_at=Min("started_at"),
            last_ended_at=Max("ended_at"),
            input_tokens=Sum("input_tokens"),
            output_tokens=Sum("output_tokens"),
            tool_calls=Sum("tool_calls"),
        )
    )


def _fill_screen(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first threads that together fill a screen, at least one."""
    chosen: list[dict[str, Any]] = []
    steps = 0
    for group in groups:
        if chosen and steps + min(group["total"], STEPS) > SCREEN:
            break
        chosen.append(group)
        steps += min(group["total"], STEPS)
    return chosen


def _part(group: dict[str, Any]) -> ThreadPart:
    return ThreadPart(
        id=group["thread_id"],
        total=group["total"],
        failures=group["failures"],
        started_at=group["started_at"],
        ended_at=None if group["open"] else group["last_ended_at"],
        input_tokens=group["input_tokens"],
        output_tokens=group["output_tokens"],
        tool_calls=group["tool_calls"],
    )


def _load_steps(
    rows: QuerySet, parts: list[ThreadPart], at: Interception | None
) -> None:
    """Give every part its first steps: one query for the short ones, one a long one."""
    prompts = _root_prompts([part.id for part in parts])
    short = [part.id for part in parts if part.total <= STEPS]
    by_thread: dict[UUID, list[Interception]] = defaultdict(list)
    for row in _with_heads(rows.filter(thread_id__in=short)):
        by_thread[row.thread_id].append(row)
    for part in parts:
        part.prompt = prompts.get(part.id)
        found = by_thread[part.id]
        if part.total > STEPS:
            found = _some_of(rows.filter(thread_id=part.id), part, at)
        _fill(part, found)


def _some_of(
    rows: QuerySet, part: ThreadPart, at: Interception | None
) -> list[Interception]:
    if at is not None and at.thread_id == part.id:
        part.starts_late = rows.filter(id__lt=at.id).exists()
        rows = rows.filter(id__gte=at.id)
    return list(_with_heads(rows)[: STEPS + 1])


def _fill(part: ThreadPart, rows: list[Interception]) -> None:
    part.steps = [_step(row, part.prompt) for row in rows[:STEPS]]
    if len(rows) > STEPS:
        part.more_after = rows[STEPS - 1].pk
    if part.prompt is None and not part.starts_late:
        part.prompt = next((step.prompt for step in part.steps if step.prompt), None)
        for step in part.steps:
            step.prompt = None if step.prompt == part.prompt else step.prompt


def _step(row: Interception, known: Head | None = None) -> Step:
    prompt = next((_head("prompt", one) for one in row.prompts.all()), None)
    is_own = prompt is not None and prompt != known
    return Step(row, actions_of(row), prompt if is_own else None)


def _head(kind: str, row: Any) -> Head:
    return Head(kind, row.pk, row.head, row.size)


def _root_prompts(thread_ids: list[UUID]) -> dict[UUID, Head]:
    prompts = _headed(UserPrompt, "prompt").filter(interception__in=thread_ids)
    return {row.interception_id: _head("prompt", row) for row in prompts}


def _headed(
    model: Any, name: str, *, head: str = "head", size: str = "size"
) -> QuerySet:
    """Return rows whose long text is read as its beginning and its length."""
    return model.objects.defer(name).annotate(
        **{head: Left(name, HEAD), size: Length(name)}
    )


def headed_tools() -> QuerySet:
    """Return tool usages with the beginnings of their arguments and errors."""
    return (
        _headed(ToolUsage, "input")
        .defer("input", "invocation_error")
        .annotate(
            error_head=Left("invocation_error", HEAD),
            error_size=Length("invocation_error"),
        )
        .order_by("turn", "id")
    )


def _with_heads(rows: QuerySet) -> QuerySet:
    return rows.select_related("initiator").prefetch_related(
        Prefetch("prompts", _headed(UserPrompt, "prompt").order_by("id")),
        Prefetch("tool_usages", headed_tools()),
        Prefetch("thoughts", _headed(ModelThought, "content").order_by("turn", "id")),
        Prefetch("attempts", Attempt.objects.order_by("turn", "position")),
        "token_usages",
    )


with_heads = _with_heads


@dataclass(frozen=True, slots=True)
class Match:
    """Where a text was found: the step, in what, and the words around it."""

    interception_id: UUID
    where: str
    before: str
    found: str
    after: str


_SEARCHED = (
    ("prompt", UserPrompt, "prompt"),
    ("thought", ModelThought, "content"),
    ("tool", ToolUsage, "tool"),
    ("tool arguments", ToolUsage, "input"),
    ("tool error", ToolUsage, "invocation_error"),
)


def find(session: Session, text: str) -> list[Match]:
    """Return the places where a text occurs, in order, at most ``FOUND``."""
    steps = of_session(session).order_by()
    matches = [
        _match(row.pk, "error", row.error_message, text)
        for row in steps.filter(error_message__icontains=text).order_by("id")[:FOUND]
    ]
    for where, model, name in _SEARCHED:
        rows = model.objects.filter(interception__in=steps.values("pk"))
        rows = rows.filter(**{f"{name}__icontains": text}).order_by("interception_id")
        for row in rows.only("interception_id", name)[: FOUND - len(matches)]:
            matches.append(_match(row.interception_id, where, getattr(row, name), text))
    return sorted(matches, key=lambda match: match.interception_id)


def _match(pk: UUID, where: str, whole: str, text: str) -> Match:
    start = max(0, whole.lower().find(text.lower()))
    end = start + len(text)
    before = ("…" if start > 60 else "") + whole[max(0, start - 60) : start]
    after = whole[end : end + 100] + ("…" if len(whole) > end + 100 else "")
    return Match(pk, where, before, whole[start:end], after)

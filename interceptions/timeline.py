"""A session as a page shows it: a screenful of steps, and where the next ones are.

A step is one interception; its turns are the agentic actions of ``threads``.

1. The first screen costs the same for ten steps and for twenty thousand: long texts are
   read as their beginnings, long threads a part at a time, and threads are found by
   walking the session's rows in order, a bounded number at once.
2. A screen goes on where the walk stopped; so a cursor is the id of a row, and a screen
   may hold no thread at all and still not be the last.
3. Sums of a thread are given where it is short; of a long one only its length is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Min, Q, QuerySet, Sum
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
from interceptions.threads import AgenticAction, actions_of, of_session, with_parts

STEPS = 30
"""Steps of one thread that are shown at once."""
SCREEN = 40
"""Steps after which no further thread is begun."""
THREADS = 20
HEAD = 700
"""Characters of a text that are read for the page."""
WALK = 2_000
"""Rows that are looked through for the threads of one screen."""
SUMMED = 1_000
"""Steps of a thread up to which it is summed."""
RECENT = 200
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
class Sums:
    """What a whole thread came to; ``ended_at`` is None while a step is in progress."""

    failures: int
    started_at: datetime
    ended_at: datetime | None
    input_tokens: int
    output_tokens: int
    tool_calls: int

    @property
    def duration_ms(self) -> float | None:
        if self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds() * 1000


@dataclass(slots=True)
class ThreadPart:
    """Consecutive steps of a thread; ``sums`` is None for a long one."""

    id: UUID
    total: int
    sums: Sums | None = None
    prompt: Head | None = None
    steps: list[Step] = field(default_factory=list)
    starts_late: bool = False
    more_after: UUID | None = None

    @property
    def models(self) -> list[str]:
        names = (step.interception.model for step in self.steps)
        return list(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True, slots=True)
class Screen:
    """Threads in order; ``more_after`` is the row after which to look for more."""

    threads: list[ThreadPart]
    more_after: UUID | None = None


def load_screen(
    session: Session, *, after: UUID | None = None, at: Interception | None = None
) -> Screen:
    """Return the threads that begin after a row, or begin with the one of a step."""
    walk = _Walk(session, at.pk if at is not None else after)
    if at is not None:
        walk.steps[at.thread_id] = STEPS
    walk.run()
    kept = {at.thread_id} if at is not None else set()
    parts = _parts([id for id in walk.steps if id in kept or walk.begins(id)])
    _load_sums(session, parts)
    _load_steps(session, parts, at)
    return Screen(parts, walk.stopped_at)


def load_steps(session: Session, thread_id: UUID, after: UUID) -> ThreadPart | None:
    """Return the part of a thread that follows a step, None when there is none."""
    rows = _of_threads(session, [thread_id]).filter(id__gt=after)
    steps = with_heads(rows[: STEPS + 1])
    if not steps:
        return None
    part = ThreadPart(thread_id, 0, starts_late=True)
    _fill(part, steps)
    return part


def load_changed(session: Session, since: datetime) -> list[Step]:
    """Return the latest steps that began or ended since a moment, or go on."""
    changed = Q(started_at__gte=since) | Q(ended_at__gte=since) | Q(ended_at=None)
    latest = of_session(session).order_by("-id").values("pk")[:RECENT]
    rows = Interception.objects.filter(changed, pk__in=[row["pk"] for row in latest])
    newest = with_heads(rows.order_by("-id")[:SCREEN])
    return [_step(row) for row in reversed(newest)]


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


class _Walk:
    """Looks through a session's rows in order for the threads of one screen.

    ``steps`` counts those met of each thread; ``stopped_at`` is the last row looked at
    when the walk ended before the session did.
    """

    def __init__(self, session: Session, after: UUID | None) -> None:
        self.steps: dict[UUID, int] = {}
        self.stopped_at: UUID | None = None
        self._session = session
        self._after = after

    def run(self) -> None:
        """Look through at most ``WALK`` rows, until the screen is full."""
        rows = of_session(self._session)
        if self._after is not None:
            rows = rows.filter(id__gt=self._after)
        last = self._after
        found = rows.values_list("pk", "thread_id")[: WALK + 1]
        for number, (pk, thread_id) in enumerate(found):
            if number == WALK or self._is_full(thread_id):
                self.stopped_at = last
                return
            self.steps[thread_id] = self.steps.get(thread_id, 0) + 1
            last = pk

    def begins(self, thread_id: UUID) -> bool:
        """Whether none of the thread's rows came before this walk."""
        # A thread has its root's id, so mostly the id itself says when it began.
        if self._after is None or thread_id > self._after:
            return True
        rows = _of_threads(self._session, [thread_id])
        return not rows.filter(id__lte=self._after).exists()

    def _is_full(self, next_thread: UUID) -> bool:
        if next_thread in self.steps:
            return False
        shown = sum(min(steps, STEPS) for steps in self.steps.values())
        return shown >= SCREEN or len(self.steps) == THREADS


def _of_threads(session: Session, ids: list[UUID]) -> QuerySet:
    """Return the session's rows of some threads, in order.

    The initiator is left out: a thread has one only, and with it the planner would
    rather read a whole long session.
    """
    return Interception.objects.filter(
        thread_id__in=ids, session_id=session.session_id
    ).order_by("id")


def _parts(ids: list[UUID]) -> list[ThreadPart]:
    """Return the threads with their lengths; one query that an index answers."""
    counted = Interception.objects.filter(thread_id__in=ids).order_by()
    totals = dict(counted.values_list("thread_id").annotate(Count("pk")))
    return [ThreadPart(id, totals.get(id, 0)) for id in ids]


def _load_sums(session: Session, parts: list[ThreadPart]) -> None:
    """Sum up the threads that are not too long for it; one query."""
    short = {part.id: part for part in parts if part.total <= SUMMED}
    summed = (
        _of_threads(session, list(short))
        .order_by()
        .values("thread_id")
        .annotate(
            failures=Count("pk", filter=Q(outcome=Outcome.FAILED)),
            open=Count("pk", filter=Q(ended_at=None)),
            started_at=Min("started_at"),
            ended_at=Max("ended_at"),
            input_tokens=Sum("input_tokens"),
            output_tokens=Sum("output_tokens"),
            tool_calls=Sum("tool_calls"),
        )
    )
    for row in summed:
        part = short[row.pop("thread_id")]
        if row.pop("open"):
            row["ended_at"] = None
        part.sums = Sums(**row)


def _load_steps(
    session: Session, parts: list[ThreadPart], at: Interception | None
) -> None:
    """Give every part its first steps: one query for the short ones, one a long one."""
    prompts = _root_prompts([part.id for part in parts])
    short = [part.id for part in parts if part.total <= STEPS]
    by_thread: dict[UUID, list[Interception]] = defaultdict(list)
    for row in with_heads(_of_threads(session, short)):
        by_thread[row.thread_id].append(row)
    for part in parts:
        part.prompt = prompts.get(part.id)
        found = by_thread[part.id]
        if part.total > STEPS:
            found = _some_of(_of_threads(session, [part.id]), part, at)
        _fill(part, found)


def _some_of(
    rows: QuerySet, part: ThreadPart, at: Interception | None
) -> list[Interception]:
    if at is not None and at.thread_id == part.id:
        part.starts_late = rows.filter(id__lt=at.id).exists()
        rows = rows.filter(id__gte=at.id)
    return with_heads(rows[: STEPS + 1])


def _fill(part: ThreadPart, rows: list[Interception]) -> None:
    part.steps = [_step(row, part.prompt) for row in rows[:STEPS]]
    if len(rows) > STEPS:
        part.more_after = rows[STEPS - 1].pk
    if part.prompt is None and not part.starts_late:
        part.prompt = next((step.prompt for step in part.steps if step.prompt), None)
        for step in part.steps:
            step.prompt = None if step.prompt == part.prompt else step.prompt


def _step(row: Interception, known: Head | None = None) -> Step:
    prompt = next((_head("prompt", one) for one in row.own_prompts), None)
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


def with_heads(rows: QuerySet) -> list[Interception]:
    """Return the interceptions with the beginnings of what belongs to them."""
    return with_parts(
        rows,
        prompts=_headed(UserPrompt, "prompt"),
        tool_usages=headed_tools(),
        thoughts=_headed(ModelThought, "content"),
    )


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

"""Made-up sessions with all their rows; the same seed gives the same rows.

Ids are UUIDv7 of the moment a row stands for, as the recorder makes them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from interceptions.demo import words
from interceptions.demo.columns import Tables, no_rows
from interceptions.demo.parts import DemoProvider, Parts, demo_id

_LONG = 20_000
_ERROR_WEIGHTS = (40, 20, 12, 12, 8, 7, 1)
_LONGEST_STEP = timedelta(seconds=340)


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A stored user and the token that their client shows."""

    id: int
    token_id: UUID | None


@dataclass(slots=True)
class _Session:
    """What all interceptions of a session share, and their sums."""

    user: DemoUser
    tool: words.Tool
    provider: DemoProvider
    client_id: str | None
    started_at: datetime
    length: int
    session_id: str = ""
    rows: int = 0
    threads: int = 0
    tool_calls: int = 0
    failures: int = 0
    tokens: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    models: set[str] = field(default_factory=set)
    last_prompt: str = ""
    last_active_at: datetime | None = None


def _first_byte_at(step: _Step) -> datetime:
    """Return a moment after 3 to 33 percent of the time it took."""
    return step.at + (step.ended_at - step.at) * (step.id.int % 31 + 3) / 100


@dataclass(slots=True)
class _Step:
    """One interception while it is being made."""

    id: UUID
    at: datetime
    ended_at: datetime
    thread_id: UUID
    parent: _Step | None
    model: str
    call_id: str | None = None
    prompt: str = ""
    hint: str = ""
    response: str = ""
    tokens: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    calls: int = 0
    error: tuple[str, int, str] | None = None


class Traffic:
    """Makes sessions of some users with some providers."""

    def __init__(
        self,
        users: list[DemoUser],
        providers: list[DemoProvider],
        *,
        until: datetime,
        days: float = 30,
        seed: int = 1,
    ) -> None:
        self._random = Random(seed)
        self._users, self._until, self._days = users, until, days
        self._providers: dict[str, list[DemoProvider]] = defaultdict(list)
        for provider in providers:
            self._providers[provider.kind].append(provider)
        self._user_weights = [1 / (rank + 1) for rank in range(len(users))]
        self._parts = Parts(self._random)

    def batches(
        self, interceptions: int, sessions: int, *, size: int = 5000
    ) -> Iterator[Tables]:
        """Yield rows of about ``size`` interceptions at a time, sessions whole."""
        left = interceptions
        self._parts.tables = no_rows()
        for number in range(sessions):
            length = self._length(number, left, sessions - number)
            self._add_session(number, length)
            left -= length
            if len(self._parts.tables["Interception"]) >= size:
                yield self._parts.tables
                self._parts.tables = no_rows()
        yield self._parts.tables

    def _length(self, number: int, left: int, sessions: int) -> int:
        """Return how many interceptions a session gets of those that are left."""
        if sessions == 1:
            return left
        most = left - sessions + 1
        if number == 0 and left > 10 * _LONG:
            return _LONG
        mean = max(0.1, left / sessions - 0.5)
        return max(1, min(most, 1 + int(self._random.expovariate(1 / mean))))

    def _add_session(self, number: int, length: int) -> None:
        session = self._new_session(number, length)
        clock = session.started_at
        while session.rows < length:
            clock = self._add_thread(session, clock)
        self._close(session)

    def _new_session(self, number: int, length: int) -> _Session:
        random = self._random
        rank = random.choices(range(len(self._users)), self._user_weights)[0]
        weights = [tool.weight for tool in words.CLIENTS]
        tool = random.choices(words.CLIENTS, weights)[0]
        provider = random.choice(self._providers[tool.kind])
        client_id: str | None = str(UUID(int=random.getrandbits(128)))
        if number % 10 == 9:
            client_id = None
        if number % 97 in {5, 6} and len(self._users) > 1:
            # Two users may send the same id; their sessions stay apart.
            client_id = f"shared-{number // 97}"
            rank = number % 97 - 5
        age = timedelta(days=random.random() * self._days)
        longest = length * _LONGEST_STEP if length < 1000 else timedelta(days=10)
        return _Session(
            self._users[rank], tool, provider, client_id,
            self._until - age - longest, length, session_id=client_id or "",
        )  # fmt: skip

    def _add_thread(self, session: _Session, clock: datetime) -> datetime:
        """Add a prompt and its loop; return when the next one may begin."""
        random = self._random
        left = session.length - session.rows
        # Without a session id a thread is a session of its own.
        drawn = 1 + int(random.expovariate(1 / 1.9)) if session.client_id else left
        length, step = min(left, drawn), None
        for number in range(length):
            step = self._add_step(session, clock, step, is_last=number == length - 1)
            clock = step.ended_at + timedelta(seconds=1.5)
        session.threads += 1
        pause = random.uniform(20, 300) if session.length < _LONG else 2
        return clock + timedelta(seconds=pause)

    def _add_step(
        self, session: _Session, at: datetime, parent: _Step | None, *, is_last: bool
    ) -> _Step:
        step = self._new_step(session, at, parent)
        if parent is None:
            step.prompt = self._parts.add_prompt(step.id, at)
        if self._random.random() < 0.03:
            step.error = self._random.choices(words.ERRORS, (40, 20, 12, 12, 8, 7, 1))[
                0
            ]
        else:
            self._add_answer(session, step, is_last=is_last)
        step.hint = self._parts.add_attempts(step.id, session.provider, at, step.error)
        self._parts.tables["Interception"].append(self._row(session, step))
        self._sum_up(session, step)
        return step

    def _new_step(self, session: _Session, at: datetime, parent: _Step | None) -> _Step:
        random = self._random
        id = demo_id(random, at)
        seconds = random.uniform(0.8, 25)
        weights = (8, 2, 1)[: len(session.tool.models)]
        model = random.choices(session.tool.models, weights)[0]
        if not session.session_id:
            session.session_id = str(id)
        thread_id = parent.thread_id if parent else id
        ended_at = at + timedelta(seconds=seconds)
        return _Step(id, at, ended_at, thread_id, parent, model)

    def _add_answer(self, session: _Session, step: _Step, *, is_last: bool) -> None:
        parts, at = self._parts, step.ended_at
        step.response = f"msg_{self._random.getrandbits(64):016x}"
        step.tokens = parts.add_tokens(step.id, step.response, at)
        if self._random.random() < 0.3:
            parts.add_thought(step.id, session.tool.dialect, at)
        if not is_last:
            step.call_id, step.calls = parts.add_tools(step.id, step.response, at)

    def _row(self, session: _Session, step: _Step) -> tuple[object, ...]:
        tool, provider, parent = session.tool, session.provider, step.parent
        failed = step.error is not None
        error_type, status, message = step.error or (None, 200, None)
        stopped = "tool_use" if step.calls else "end_turn"
        return (
            step.id, session.user.id, session.user.token_id, provider.id,
            provider.name, provider.kind, tool.dialect, tool.route, step.model,
            self._random.random() < 0.85, tool.client, tool.user_agent,
            session.client_id, session.session_id, step.thread_id,
            parent.id if parent else None, parent.call_id if parent else None,
            "centralized" if provider.keys else "byok", step.hint, step.at,
            None if failed else _first_byte_at(step), step.ended_at,
            not failed and self._random.random() < 0.02, error_type, message, status,
            step.response, "" if failed else stopped, 0 if failed else 1,
            *step.tokens, step.calls, None, "{}",
        )  # fmt: skip

    def _sum_up(self, session: _Session, step: _Step) -> None:
        session.rows += 1
        session.tool_calls += step.calls
        session.failures += step.error is not None
        session.models.add(step.model)
        pairs = zip(session.tokens, step.tokens, strict=True)
        session.tokens = [sum(pair) for pair in pairs]
        session.last_active_at = step.ended_at
        session.last_prompt = step.prompt[:500] or session.last_prompt

    def _close(self, session: _Session) -> None:
        last = session.last_active_at
        self._parts.tables["Session"].append(
            (
                demo_id(self._random, session.started_at), session.user.id,
                session.session_id, session.tool.client, session.tool.user_agent,
                json.dumps([str(session.provider.id)]),
                json.dumps([session.provider.name]),
                json.dumps([session.provider.kind]),
                json.dumps(sorted(session.models)), session.started_at, last, last,
                session.last_prompt, session.threads, session.rows,
                session.tool_calls, session.failures, *session.tokens,
            )
        )  # fmt: skip

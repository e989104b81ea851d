"""Stops asking an endpoint and model of an upstream that keep failing.

Pure: the clock is injected and only statuses are seen. Rules:

1. One breaker per endpoint and model. It sees whole bridged requests, by the status the
   client was answered with; a status that was never written is a success.
2. Closed: ``threshold`` failures in a row open it. Successes and the end of each
   ``interval`` start the count anew.
3. Open: everything is refused for ``timeout`` seconds.
4. Half open: ``max_requests`` requests are let through in all. One failure opens the
   breaker again; when all of them succeed it closes.
5. What was admitted before a change of state has no say in the next state.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from providers.kinds import KINDS
from providers.provider import BreakerOptions

_FAILURES = frozenset({429, 503, 504})
_MOST_BREAKERS = 1000


class State(StrEnum):
    """How a breaker stands; ``gauge`` is the value that metrics show."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"

    @property
    def gauge(self) -> float:
        return {"closed": 0.0, "half_open": 0.5, "open": 1.0}[self.value]


class BreakerOpen(Exception):
    """The request was refused; ``retry_after`` is whole seconds, rounded down."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__("circuit breaker is open")


@dataclass(frozen=True, slots=True)
class Change:
    """One transition of one breaker."""

    endpoint: str
    model: str
    before: State
    after: State


@dataclass(frozen=True, slots=True)
class Reading:
    """A breaker as metrics and people see it."""

    endpoint: str
    model: str
    state: State
    trips: int
    rejects: int


def is_failure(kind: str, status: int) -> bool:
    """Whether a status given to the client counts against a provider of this kind."""
    if status in _FAILURES:
        return True
    spec = KINDS.get(kind)
    return spec is not None and status == spec.overloaded_status


class Admission:
    """Leave to make one request; ``report`` must follow, whatever came of it."""

    __slots__ = ("_breaker", "_generation", "_reported", "_set")

    def __init__(self, owner: BreakerSet, breaker: _Breaker, generation: int) -> None:
        self._set = owner
        self._breaker = breaker
        self._generation = generation
        self._reported = False

    def report(self, status: int | None) -> None:
        """Say which status the client got, None when none was written. Idempotent."""
        if self._reported:
            return
        self._reported = True
        failed = status is not None and self._set.is_failure(status)
        self._set.settle(self._breaker, self._generation, failed=failed)


class BreakerSet:
    """The breakers of one provider.

    ``on_change`` is called once per transition, outside the lock.
    """

    def __init__(
        self,
        options: BreakerOptions,
        *,
        kind: str = "",
        clock: Callable[[], float] = time.monotonic,
        is_failure: Callable[[int], bool] | None = None,
        on_change: Callable[[Change], None] | None = None,
    ) -> None:
        self.options = options
        self.kind = kind
        self.is_failure = is_failure or (lambda status: _is_failure(kind, status))
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._breakers: dict[tuple[str, str], _Breaker] = {}

    def guard(self, endpoint: str, model: str) -> Admission:
        """Admit one request; raises BreakerOpen when it is refused."""
        with self._lock:
            breaker = self._breaker(endpoint, model)
            before = breaker.state
            admitted = breaker.admit(self._clock())
            generation = breaker.generation
            change = breaker.change_since(before)
        self._tell(change)
        if not admitted:
            raise BreakerOpen(int(self.options.timeout))
        return Admission(self, breaker, generation)

    def settle(self, breaker: _Breaker, generation: int, *, failed: bool) -> None:
        """Count the end of an admitted request; for ``Admission``."""
        with self._lock:
            before = breaker.state
            breaker.count(generation, self._clock(), failed=failed)
            change = breaker.change_since(before)
        self._tell(change)

    def readings(self) -> list[Reading]:
        """Return how every breaker stands now."""
        with self._lock:
            now = self._clock()
            return [breaker.read(now) for breaker in self._breakers.values()]

    def _breaker(self, endpoint: str, model: str) -> _Breaker:
        found = self._breakers.get((endpoint, model))
        if found is None:
            self._make_room()
            found = _Breaker(endpoint, model, self.options, self._clock())
            self._breakers[endpoint, model] = found
        return found

    def _make_room(self) -> None:
        # Models are named by clients, so their number is bounded here.
        if len(self._breakers) < _MOST_BREAKERS:
            return
        idle = (key for key, breaker in self._breakers.items() if breaker.is_idle)
        self._breakers.pop(next(idle, next(iter(self._breakers))))

    def _tell(self, change: Change | None) -> None:
        if change is not None and self._on_change is not None:
            self._on_change(change)


# The parameter of BreakerSet has the same name.
_is_failure = is_failure


class _Breaker:
    """The state machine of one endpoint and model; its set holds the lock."""

    def __init__(
        self, endpoint: str, model: str, options: BreakerOptions, now: float
    ) -> None:
        self.endpoint = endpoint
        self.model = model
        self.state = State.CLOSED
        self.generation = 0
        self.trips = 0
        self.rejects = 0
        self._options = options
        self._start(now)

    @property
    def is_idle(self) -> bool:
        """Whether forgetting it changes nothing that is still to come."""
        return self.state is State.CLOSED and self._failures == 0

    def admit(self, now: float) -> bool:
        """Count and allow one more request, or count a refusal."""
        self._age(now)
        half_open = self.state is State.HALF_OPEN
        full = half_open and self._requests >= self._options.max_requests
        if self.state is State.OPEN or full:
            self.rejects += 1
            return False
        self._requests += 1
        return True

    def count(self, generation: int, now: float, *, failed: bool) -> None:
        """Count the end of a request that was admitted in ``generation``."""
        self._age(now)
        if generation != self.generation:
            return
        if failed:
            self._count_failure(now)
        else:
            self._count_success(now)

    def change_since(self, before: State) -> Change | None:
        if before is self.state:
            return None
        return Change(self.endpoint, self.model, before, self.state)

    def read(self, now: float) -> Reading:
        """Return the reading, without making a transition that a request would make."""
        ended = self.state is State.OPEN and now > self._expires
        state = State.HALF_OPEN if ended else self.state
        return Reading(self.endpoint, self.model, state, self.trips, self.rejects)

    def _count_failure(self, now: float) -> None:
        self._failures += 1
        half_open = self.state is State.HALF_OPEN
        if half_open or self._failures >= self._options.threshold:
            self.trips += 1
            self._enter(State.OPEN, now)

    def _count_success(self, now: float) -> None:
        self._failures = 0
        self._successes += 1
        enough = self._successes >= self._options.max_requests
        if self.state is State.HALF_OPEN and enough:
            self._enter(State.CLOSED, now)

    def _age(self, now: float) -> None:
        if not now > self._expires:
            return
        if self.state is State.OPEN:
            self._enter(State.HALF_OPEN, now)
        elif self.state is State.CLOSED:
            self._start(now)

    def _enter(self, state: State, now: float) -> None:
        self.state = state
        self._start(now)

    def _start(self, now: float) -> None:
        """Begin a generation: forget all counts and set when it ends by itself."""
        self.generation += 1
        self._requests = self._failures = self._successes = 0
        endless = float("inf")
        self._expires = {
            State.CLOSED: now + (self._options.interval or endless),
            State.OPEN: now + self._options.timeout,
            State.HALF_OPEN: endless,
        }[self.state]


class Breakers:
    """The breaker sets of all providers, each kept as long as its options are."""

    def __init__(self, on_change: Callable[[str, Change], None] | None = None) -> None:
        """``on_change`` is called with the provider's name and the transition."""
        self._on_change = on_change
        self._sets: dict[str, BreakerSet] = {}

    def of(
        self, name: str, kind: str, options: BreakerOptions | None
    ) -> BreakerSet | None:
        """Return the set of a provider, None when it has no breaker."""
        if options is None:
            self._sets.pop(name, None)
            return None
        found = self._sets.get(name)
        if found is None or found.options != options or found.kind != kind:
            found = BreakerSet(options, kind=kind, on_change=self._teller(name))
            self._sets[name] = found
        return found

    def readings(self) -> dict[str, list[Reading]]:
        """Return how every breaker stands now, by provider name."""
        return {name: found.readings() for name, found in list(self._sets.items())}

    def _teller(self, name: str) -> Callable[[Change], None] | None:
        tell = self._on_change
        return None if tell is None else lambda change: tell(name, change)

"""A provider's keys in order, and which of them may be tried now.

Pure: the clock is injected, and nothing here knows HTTP, a database or Django. Rules
of the pool:

1. A key is permanent, else temporary until its deadline, else valid; exactly at the
   deadline it is valid again.
2. Of two deadlines the later one wins. Permanent is terminal until ``reset``.
3. A walk goes from the first key to the last and never revisits one; a key is yielded
   when it is valid at that moment.
4. All reads and writes of health happen under the pool's one lock, which is never held
   while anything else is called.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from providers.masking import mask

DEFAULT_COOLDOWN = 60.0

RATE_LIMITED = "rate_limited"
QUOTA = "quota"
UNAUTHORIZED = "unauthorized"


class KeyState(StrEnum):
    """What a key may be used for now."""

    VALID = "valid"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


class KeyPoolError(ValueError):
    """The keys given cannot make a pool."""


class KeyPoolExhausted(Exception):
    """No key can be tried.

    ``permanent``: every key failed authentication, so waiting does not help.
    ``retry_after``: seconds until the first key returns from its cooldown; 0.0 when
    permanent, when a key is valid again already, or when only quotas are spent.
    ``reason``: rate_limited, quota or unauthorized.
    """

    def __init__(
        self, permanent: bool, retry_after: float, reason: str = RATE_LIMITED
    ) -> None:
        self.permanent = permanent
        self.retry_after = retry_after
        self.reason = UNAUTHORIZED if permanent else reason
        super().__init__(self._message())

    def _message(self) -> str:
        if self.permanent:
            return "all configured keys failed authentication"
        if self.reason == QUOTA:
            return "all configured keys are rate-limited (out of quota)"
        wait = go_duration(self.retry_after)
        return f"all configured keys are rate-limited (retry after {wait})"


@dataclass(eq=False, slots=True)
class Key:
    """One key and its health; times are seconds since the epoch, 0.0 means never.

    ``fingerprint`` tells a changed secret from a kept one. ``marked_at`` is the last
    mark made by this process, ``settled_at`` (monotonic seconds) when that mark was
    stored for all others, and ``used_at`` when this process last reported a use.
    """

    value: str = field(repr=False)
    id: UUID | None = None
    hint: str = ""
    fingerprint: str = ""
    cooldown_until: float = 0.0
    permanent: bool = False
    reason: str = ""
    marked_at: float = 0.0
    settled_at: float = 0.0
    used_at: float = 0.0

    def __post_init__(self) -> None:
        self.hint = self.hint or mask(self.value)

    def __repr__(self) -> str:
        return f"<Key {self.hint}>"

    __str__ = __repr__


class KeyPool:
    """The keys of one provider, shared by all its requests in this process."""

    def __init__(
        self,
        keys: Iterable[Key],
        *,
        clock: Callable[[], float] = time.time,
        default_cooldown: float = DEFAULT_COOLDOWN,
    ) -> None:
        """Raise KeyPoolError when there is no key, or the same key twice."""
        self._clock = clock
        self._default_cooldown = default_cooldown
        self._lock = threading.Lock()
        self._keys = _checked(keys)

    def __repr__(self) -> str:
        return f"<KeyPool {self._keys}>"

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys in the order in which they are tried."""
        return self._keys

    def replace(self, keys: Iterable[Key]) -> None:
        """Hold other keys from the next walk on; raises KeyPoolError as the pool does.

        Walks under way go on over the old ones.
        """
        self._keys = _checked(keys)

    def walk(self) -> Iterator[Key]:
        """Yield each key that is valid when its turn comes.

        Raises KeyPoolExhausted at the end, computed from all keys of the pool.
        """
        for key in self._keys:
            with self._lock:
                valid = self._state(key) is KeyState.VALID
            if valid:
                yield key
        raise self.exhausted()

    def exhausted(self) -> KeyPoolExhausted:
        """Return why nothing is left to try, as of now."""
        with self._lock:
            now = self._clock()
            cooling = [key for key in self._keys if not key.permanent]
            waits = [(max(0.0, key.cooldown_until - now), key) for key in cooling]
        if any(wait == 0 for wait, _ in waits):
            return KeyPoolExhausted(False, 0.0)
        return _exhausted_for(waits)

    def state(self, key: Key) -> KeyState:
        """Return the key's state now."""
        with self._lock:
            return self._state(key)

    def remaining(self, key: Key) -> float:
        """Return the seconds until a temporary key is valid again, else 0.0."""
        with self._lock:
            if self._state(key) is not KeyState.TEMPORARY:
                return 0.0
            return key.cooldown_until - self._clock()

    def mark_temporary(
        self, key: Key, cooldown: float | None, reason: str = RATE_LIMITED
    ) -> bool:
        """Put a key aside; return whether it was valid before.

        ``cooldown`` in seconds; None, zero and less mean the default. A deadline that
        is later already stays, and so does a permanent mark.
        """
        if cooldown is None or not cooldown > 0:
            cooldown = self._default_cooldown
        with self._lock:
            now = self._clock()
            was_valid = self._state(key) is KeyState.VALID
            if key.permanent or key.cooldown_until >= now + cooldown:
                return False
            key.cooldown_until = now + cooldown
            key.reason = reason
            key.marked_at = now
            key.settled_at = 0.0
            return was_valid

    def mark_permanent(self, key: Key, reason: str = UNAUTHORIZED) -> bool:
        """Put a key aside for good; return False when it was so already."""
        with self._lock:
            if key.permanent:
                return False
            key.permanent = True
            key.reason = reason
            key.marked_at = self._clock()
            key.settled_at = 0.0
            return True

    def reset(self, key: Key) -> None:
        """Make a key valid, whatever was marked."""
        with self._lock:
            key.permanent = False
            key.cooldown_until = 0.0
            key.reason = ""
            key.marked_at = 0.0

    def settle(self, key: Key, marked_at: float, *, at: float) -> None:
        """Note that the mark made at ``marked_at`` is stored; ``at`` is monotonic."""
        with self._lock:
            if key.marked_at == marked_at:
                key.settled_at = at

    def adopt(
        self,
        key: Key,
        *,
        permanent: bool,
        cooldown_until: float,
        reason: str,
        returned_at: float = 0.0,
        read_at: float = 0.0,
    ) -> None:
        """Take over health that was stored elsewhere and read at ``read_at``.

        ``read_at`` is monotonic seconds, as ``settled_at``. A mark of this process
        that others cannot have seen in what was read is merged: the later deadline
        wins and permanent stays. A return that is later than the mark clears it.
        """
        with self._lock:
            settled = 0.0 < key.settled_at < read_at
            if key.marked_at > returned_at and key.marked_at and not settled:
                permanent = permanent or key.permanent
                if key.permanent or key.cooldown_until > cooldown_until:
                    reason = key.reason
                cooldown_until = max(cooldown_until, key.cooldown_until)
            key.permanent = permanent
            key.cooldown_until = cooldown_until
            key.reason = reason

    def _state(self, key: Key) -> KeyState:
        if key.permanent:
            return KeyState.PERMANENT
        if self._clock() < key.cooldown_until:
            return KeyState.TEMPORARY
        return KeyState.VALID


def _checked(keys: Iterable[Key]) -> tuple[Key, ...]:
    checked = tuple(keys)
    if not checked:
        raise KeyPoolError("no keys provided")
    if len({key.value for key in checked}) != len(checked):
        raise KeyPoolError("duplicate key")
    return checked


def _exhausted_for(waits: list[tuple[float, Key]]) -> KeyPoolExhausted:
    # A key that rests after 401 is a key that failed authentication, and a spent quota
    # has no end that upstream promised: the caller is told to wait for neither.
    promised = [wait for wait, key in waits if key.reason not in {QUOTA, UNAUTHORIZED}]
    if promised:
        return KeyPoolExhausted(False, min(promised))
    if any(key.reason == QUOTA for _, key in waits):
        return KeyPoolExhausted(False, 0.0, QUOTA)
    return KeyPoolExhausted(True, 0.0)


def go_duration(seconds: float) -> str:
    """Return whole seconds, rounded up, in Go's style: 0s, 45s, 1m0s, 1h0m5s."""
    whole = max(0, math.ceil(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"

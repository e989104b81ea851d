"""Rows of the reference's key pool tables, and properties of marks."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.keypool import (
    Key,
    KeyPool,
    KeyPoolError,
    KeyPoolExhausted,
    KeyState,
    go_duration,
)

START = 1_000_000.0


class Clock:
    """A clock that stands still until it is advanced."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_pool(clock):
    """Return a function that makes a pool of so many keys, k0 first."""

    def make(count: int) -> KeyPool:
        return KeyPool([Key(f"k{n}") for n in range(count)], clock=clock)

    return make


def walked(pool: KeyPool) -> tuple[list[str], KeyPoolExhausted]:
    """Walk to the end; return the keys' values and how the walk ended."""
    found = []
    try:
        for key in pool.walk():
            found.append(key.value)
    except KeyPoolExhausted as ended:
        return found, ended
    raise AssertionError("a walk ended without saying why")


# Construction


@pytest.mark.parametrize("keys", [(), []], ids=["nil_keys", "empty_keys"])
def test_pool_without_keys_is_refused(keys):
    with pytest.raises(KeyPoolError, match="^no keys provided$"):
        KeyPool(keys)


def test_single_key_is_walked_once(make_pool):
    keys, ended = walked(make_pool(1))
    assert keys == ["k0"]
    assert (ended.permanent, ended.retry_after) == (False, 0.0)


def test_multiple_keys_are_walked_in_order(make_pool):
    keys, ended = walked(make_pool(3))
    assert keys == ["k0", "k1", "k2"]
    assert (ended.permanent, ended.retry_after) == (False, 0.0)


def test_duplicate_keys_are_refused():
    with pytest.raises(KeyPoolError, match="^duplicate key$"):
        KeyPool([Key("k0"), Key("k0")])


# State


@pytest.mark.parametrize(
    ("marks", "advance", "state"),
    [
        ([], 0, KeyState.VALID),
        ([60], 0, KeyState.TEMPORARY),
        ([30], 35, KeyState.VALID),
        (["permanent"], 0, KeyState.PERMANENT),
        (["permanent", 60], 0, KeyState.PERMANENT),
    ],
    ids=[
        "fresh",
        "marked temporary 60 s",
        "marked temporary 30 s, clock +35 s",
        "marked permanent",
        "permanent, then mark_temporary",
    ],
)
def test_state_follows_marks(make_pool, clock, marks, advance, state):
    pool = make_pool(1)
    (key,) = pool.keys
    for mark in marks:
        pool.mark_permanent(key) if mark == "permanent" else pool.mark_temporary(
            key, mark
        )
    clock.advance(advance)
    assert pool.state(key) is state


def test_key_is_valid_exactly_at_its_deadline(make_pool, clock):
    pool = make_pool(1)
    pool.mark_temporary(pool.keys[0], 5)
    clock.advance(4.999)
    assert pool.state(pool.keys[0]) is KeyState.TEMPORARY
    clock.now = START + 5
    assert pool.state(pool.keys[0]) is KeyState.VALID


# mark_temporary, mark_permanent


@pytest.mark.parametrize(
    ("before", "cooldown", "state", "remaining", "transition"),
    [
        (None, 60, KeyState.TEMPORARY, 60, True),
        (10, 60, KeyState.TEMPORARY, 60, False),
        (60, 10, KeyState.TEMPORARY, 60, False),
        ("permanent", 60, KeyState.PERMANENT, 0, False),
    ],
    ids=["valid", "temporary 10 s", "temporary 60 s", "permanent"],
)
def test_mark_temporary_says_whether_the_key_was_valid(
    make_pool, before, cooldown, state, remaining, transition
):
    pool = make_pool(1)
    (key,) = pool.keys
    if before == "permanent":
        pool.mark_permanent(key)
    elif before:
        pool.mark_temporary(key, before)
    assert pool.mark_temporary(key, cooldown) is transition
    assert pool.state(key) is state
    assert pool.remaining(key) == remaining


@pytest.mark.parametrize(
    ("before", "transition"),
    [("valid", True), ("temporary", True), ("permanent", False)],
)
def test_mark_permanent_is_a_transition_only_once(make_pool, before, transition):
    pool = make_pool(1)
    (key,) = pool.keys
    if before == "temporary":
        pool.mark_temporary(key, 60)
    if before == "permanent":
        pool.mark_permanent(key)
    assert pool.mark_permanent(key) is transition
    assert pool.state(key) is KeyState.PERMANENT


def test_extended_cooldown_keeps_the_reason_of_the_later_deadline(make_pool):
    pool = make_pool(1)
    (key,) = pool.keys
    pool.mark_temporary(key, 600, "quota")
    pool.mark_temporary(key, 5, "rate_limited")
    assert key.reason == "quota"


def test_reset_makes_a_permanent_key_valid(make_pool):
    pool = make_pool(1)
    pool.mark_permanent(pool.keys[0])
    pool.reset(pool.keys[0])
    assert walked(pool)[0] == ["k0"]


# Walker next


@pytest.mark.parametrize(
    ("count", "temporary", "permanent", "advance", "keys", "ending"),
    [
        (3, {}, [], 0, [0, 1, 2], 0),
        (3, {0: [60]}, [], 0, [1, 2], 0),
        (3, {}, [0, 1], 0, [2], 0),
        (2, {0: [30]}, [], 35, [0, 1], 0),
        (2, {0: [0]}, [], 50, [1], 0),
        (2, {0: [0]}, [], 65, [0, 1], 0),
        (2, {0: [-10]}, [], 65, [0, 1], 0),
        (1, {0: [60, 10]}, [], 15, [], 45),
        (1, {0: [60, 10]}, [], 65, [0], 0),
        (3, {0: [60], 1: [10], 2: [30]}, [], 0, [], 10),
        (2, {0: [60], 1: [60]}, [], 0, [], 60),
        (2, {}, [0, 1], 0, [], "permanent"),
        (3, {1: [60]}, [0, 2], 0, [], 60),
    ],
    ids=[
        "all_keys_valid",
        "skips_temporary",
        "skips_permanent",
        "expired_temporary_becomes_valid",
        "default_cooldown_not_expired",
        "default_cooldown_expired",
        "negative_cooldown_uses_default",
        "shorter_preserves_longer_not_expired",
        "shorter_preserves_longer_expired",
        "smallest_cooldown",
        "all_temporary",
        "all_permanent",
        "mixed",
    ],
)
def test_walk_yields_valid_keys_and_says_why_it_ends(
    make_pool, clock, count, temporary, permanent, advance, keys, ending
):
    pool = make_pool(count)
    for index, cooldowns in temporary.items():
        for cooldown in cooldowns:
            pool.mark_temporary(pool.keys[index], cooldown)
    for index in permanent:
        pool.mark_permanent(pool.keys[index])
    clock.advance(advance)
    found, ended = walked(pool)
    assert found == [f"k{index}" for index in keys]
    assert ended.permanent is (ending == "permanent")
    assert ended.retry_after == (0 if ending == "permanent" else ending)


def test_cooldown_of_none_is_the_pools_default(clock):
    pool = KeyPool([Key("k0")], clock=clock, default_cooldown=7)
    pool.mark_temporary(pool.keys[0], None)
    assert pool.remaining(pool.keys[0]) == 7


def test_walk_never_revisits_a_key_that_became_valid_behind_it(make_pool, clock):
    pool = make_pool(2)
    pool.mark_temporary(pool.keys[0], 5)
    walk = pool.walk()
    assert next(walk).value == "k1"
    clock.advance(10)
    with pytest.raises(KeyPoolExhausted) as ended:
        next(walk)
    assert ended.value.retry_after == 0


def test_new_walk_skips_what_an_earlier_one_marked(make_pool):
    pool = make_pool(3)
    walk = pool.walk()
    pool.mark_temporary(next(walk), 60)
    pool.mark_permanent(next(walk))
    assert next(walk).value == "k2"
    assert next(pool.walk()).value == "k2"


def test_walk_under_way_outlives_a_replacement_of_the_keys(make_pool):
    pool = make_pool(2)
    walk = pool.walk()
    next(walk)
    pool.replace([Key("new")])
    assert next(walk).value == "k1"
    assert next(pool.walk()).value == "new"


# Exhaustion


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            KeyPoolExhausted(False, 0),
            "all configured keys are rate-limited (retry after 0s)",
        ),
        (
            KeyPoolExhausted(False, 5),
            "all configured keys are rate-limited (retry after 5s)",
        ),
        (KeyPoolExhausted(True, 0), "all configured keys failed authentication"),
    ],
    ids=["RL 0", "RL 5", "Permanent"],
)
def test_exhaustion_says_what_is_the_matter(error, text):
    assert str(error) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.2, "1s"), (3, "3s"), (60, "1m0s"), (90, "1m30s"), (3605, "1h0m5s")],
)
def test_durations_are_written_in_gos_style(seconds, text):
    assert go_duration(seconds) == text


def test_keys_that_all_rest_after_401_failed_authentication(make_pool):
    pool = make_pool(2)
    pool.mark_temporary(pool.keys[0], 60, "unauthorized")
    pool.mark_permanent(pool.keys[1])
    assert walked(pool)[1].permanent


def test_any_rate_limit_outranks_keys_that_rest_after_401(make_pool):
    pool = make_pool(2)
    pool.mark_temporary(pool.keys[0], 10, "unauthorized")
    pool.mark_temporary(pool.keys[1], 30)
    ended = walked(pool)[1]
    assert (ended.permanent, ended.retry_after) == (False, 30)


def test_spent_quotas_promise_no_time_to_come_back(make_pool):
    pool = make_pool(2)
    pool.mark_temporary(pool.keys[0], 600, "quota")
    pool.mark_permanent(pool.keys[1])
    ended = walked(pool)[1]
    assert (ended.permanent, ended.retry_after, ended.reason) == (False, 0, "quota")
    assert "all configured keys are rate-limited" in str(ended)


# Secrets


def test_neither_key_nor_pool_shows_the_secret():
    secret = "sk-ant-api03-abcdefgh"
    pool = KeyPool([Key(secret)])
    shown = f"{pool!r} {pool.keys[0]!r} {pool.keys[0]} {pool.keys!r}"
    assert secret not in shown
    assert "sk-a...efgh" in shown


# Health that was stored elsewhere


def adopt(pool: KeyPool, key: Key, **health: object) -> None:
    stored = {"permanent": False, "cooldown_until": 0.0, "reason": ""} | health
    pool.adopt(key, **stored)


def test_stored_health_is_adopted(make_pool):
    pool = make_pool(2)
    adopt(pool, pool.keys[0], permanent=True, reason="forbidden")
    adopt(pool, pool.keys[1], cooldown_until=START + 9)
    assert pool.state(pool.keys[0]) is KeyState.PERMANENT
    assert pool.remaining(pool.keys[1]) == 9


def test_mark_that_is_not_stored_yet_survives_older_stored_health(make_pool):
    pool = make_pool(1)
    pool.mark_temporary(pool.keys[0], 60)
    adopt(pool, pool.keys[0], cooldown_until=START + 10, read_at=5.0)
    assert pool.remaining(pool.keys[0]) == 60


def test_return_after_the_mark_clears_it(make_pool):
    pool = make_pool(1)
    pool.mark_permanent(pool.keys[0])
    adopt(pool, pool.keys[0], returned_at=START + 1)
    assert pool.state(pool.keys[0]) is KeyState.VALID


def test_return_before_the_mark_does_not_clear_it(make_pool):
    pool = make_pool(1)
    pool.mark_permanent(pool.keys[0])
    adopt(pool, pool.keys[0], returned_at=START - 1)
    assert pool.state(pool.keys[0]) is KeyState.PERMANENT


def test_stored_mark_yields_to_what_was_read_after_it_was_stored(make_pool):
    pool = make_pool(1)
    (key,) = pool.keys
    pool.mark_permanent(key)
    pool.settle(key, key.marked_at, at=10.0)
    adopt(pool, key, read_at=9.0)
    assert pool.state(key) is KeyState.PERMANENT
    adopt(pool, key, read_at=11.0)
    assert pool.state(key) is KeyState.VALID


def test_storing_an_older_mark_does_not_settle_a_newer_one(make_pool, clock):
    pool = make_pool(1)
    (key,) = pool.keys
    pool.mark_temporary(key, 5)
    older = key.marked_at
    clock.advance(1)
    pool.mark_permanent(key)
    pool.settle(key, older, at=10.0)
    adopt(pool, key, read_at=11.0)
    assert pool.state(key) is KeyState.PERMANENT


# Concurrency


def test_longer_cooldown_wins_among_threads(make_pool, clock):
    pool = make_pool(1)
    (key,) = pool.keys
    cooldowns = [60 if n % 2 else 10 for n in range(10)]
    in_threads(lambda cooldown: pool.mark_temporary(key, cooldown), cooldowns)
    clock.advance(50)
    assert pool.state(key) is KeyState.TEMPORARY
    clock.advance(15)
    assert pool.state(key) is KeyState.VALID


def test_permanent_wins_over_temporary_among_threads(make_pool):
    pool = make_pool(1)
    (key,) = pool.keys

    def mark(permanent: bool) -> None:
        pool.mark_permanent(key) if permanent else pool.mark_temporary(key, 60)

    in_threads(mark, [n % 2 == 0 for n in range(10)])
    assert pool.state(key) is KeyState.PERMANENT


def test_one_of_many_threads_sees_the_transition(make_pool):
    pool = make_pool(1)
    seen = []
    in_threads(lambda _: seen.append(pool.mark_permanent(pool.keys[0])), range(20))
    assert seen.count(True) == 1


def in_threads(work, arguments) -> None:
    threads = [threading.Thread(target=work, args=(each,)) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)


# Properties

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("temporary"),
            st.one_of(st.none(), st.floats(-10, 0), st.floats(0.001, 7200)),
        ),
        st.tuples(st.just("permanent"), st.none()),
        st.tuples(st.just("advance"), st.floats(0, 100)),
        st.tuples(st.just("settle"), st.none()),
        st.tuples(st.just("adopt unsettled"), st.floats(0, 7200)),
    ),
    max_size=30,
)


@given(STEPS)
def test_no_interleaving_of_marks_shortens_a_deadline_or_revives_a_key(steps):
    clock = Clock()
    pool = KeyPool([Key("k0")], clock=clock)
    (key,) = pool.keys
    for step, value in steps:
        before, was_permanent = key.cooldown_until, key.permanent
        was_valid = pool.state(key) is KeyState.VALID
        transition = take(step, value, pool, clock)
        assert key.cooldown_until >= before
        assert key.permanent or not was_permanent
        if step == "temporary":
            assert transition is was_valid
        if step == "permanent":
            assert transition is not was_permanent


def take(step: str, value: float | None, pool: KeyPool, clock: Clock) -> object:
    (key,) = pool.keys
    if step == "temporary":
        return pool.mark_temporary(key, value)
    if step == "permanent":
        return pool.mark_permanent(key)
    if step == "advance":
        return clock.advance(value)
    if step == "settle":
        return pool.settle(key, key.marked_at, at=10.0)
    # Rows that were read before this process's marks were stored, at most as new.
    until = min(key.cooldown_until, START + value) if key.marked_at else 0.0
    return adopt(pool, key, cooldown_until=until, read_at=5.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["valid", "temporary", "permanent"]), st.integers(1, 99)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_walk_yields_exactly_the_valid_keys_and_the_soonest_return(states):
    pool = KeyPool([Key(f"k{n}") for n in range(len(states))], clock=Clock())
    for key, (state, cooldown) in zip(pool.keys, states, strict=True):
        if state == "temporary":
            pool.mark_temporary(key, cooldown)
        if state == "permanent":
            pool.mark_permanent(key)
    found, ended = walked(pool)
    assert found == [f"k{n}" for n, (state, _) in enumerate(states) if state == "valid"]
    waits = [cooldown for state, cooldown in states if state == "temporary"]
    assert ended.permanent is (not found and not waits)
    assert ended.retry_after == (min(waits) if waits and not found else 0)

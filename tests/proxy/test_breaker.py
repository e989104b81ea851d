"""Rows of the reference's circuit breaker table, as far as they need no wire."""

from __future__ import annotations

import pytest

from providers.provider import BreakerOptions
from proxy.breaker import (
    BreakerOpen,
    Breakers,
    BreakerSet,
    Change,
    State,
    is_failure,
)

MESSAGES = "/v1/messages"
SONNET, HAIKU = "claude-sonnet-4-20250514", "claude-3-5-haiku-20241022"


class Clock:
    """A clock that stands still until it is advanced."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Story:
    """A breaker set with a clock and a memory of its changes."""

    def __init__(self, **options: float) -> None:
        self.clock = Clock()
        self.changes: list[Change] = []
        self.breakers = BreakerSet(
            BreakerOptions(**options),
            kind="anthropic",
            clock=self.clock,
            on_change=self.changes.append,
        )

    def request(self, status: int | None, model: str = SONNET) -> None:
        self.breakers.guard(MESSAGES, model).report(status)

    def refuses(self, endpoint: str = MESSAGES, model: str = SONNET) -> bool:
        try:
            self.breakers.guard(endpoint, model).report(200)
        except BreakerOpen:
            return True
        return False

    def reading(self, model: str = SONNET):
        (found,) = [each for each in self.breakers.readings() if each.model == model]
        return found


@pytest.fixture
def story() -> Story:
    return Story(threshold=2, interval=60, timeout=0.05, max_requests=1)


# Unit rows


def test_per_model_isolation():
    story = Story(threshold=1)
    story.request(429)
    assert story.refuses()
    assert not story.refuses(model=HAIKU)


def test_per_endpoint_isolation():
    story = Story(threshold=1)
    story.request(429)
    assert story.refuses()
    assert not story.refuses(endpoint="/v1/chat/completions")


def test_refusal_says_the_circuit_is_open_and_when_to_come_back():
    story = Story(threshold=1, timeout=30)
    story.request(429)
    with pytest.raises(BreakerOpen, match="^circuit breaker is open$") as refused:
        story.breakers.guard(MESSAGES, SONNET)
    assert refused.value.retry_after == 30


def test_retry_after_is_truncated_to_whole_seconds(story):
    story.request(429)
    story.request(429)
    with pytest.raises(BreakerOpen) as refused:
        story.breakers.guard(MESSAGES, SONNET)
    assert refused.value.retry_after == 0


def test_custom_failure_predicate():
    breakers = BreakerSet(
        BreakerOptions(threshold=1), is_failure=lambda status: status == 502
    )
    breakers.guard(MESSAGES, SONNET).report(429)
    breakers.guard(MESSAGES, SONNET).report(502)
    with pytest.raises(BreakerOpen):
        breakers.guard(MESSAGES, SONNET)


def test_state_change_callback_is_called_once():
    story = Story(threshold=1)
    story.request(429)
    assert story.refuses()
    assert story.changes == [Change(MESSAGES, SONNET, State.CLOSED, State.OPEN)]


@pytest.mark.parametrize("kind", ["openai", "copilot", "azure", "unknown"])
@pytest.mark.parametrize(
    ("status", "failed"),
    [
        (200, False),
        (400, False),
        (401, False),
        (429, True),
        (500, False),
        (502, False),
        (503, True),
        (504, True),
        (529, False),
    ],
)
def test_default_is_failure(kind, status, failed):
    assert is_failure(kind, status) is failed


@pytest.mark.parametrize("kind", ["anthropic", "bedrock"])
def test_anthropic_overload_is_a_failure_too(kind):
    assert is_failure(kind, 529)
    assert is_failure(kind, 503)
    assert not is_failure(kind, 500)


def test_gauge_values():
    gauges = [State.CLOSED.gauge, State.HALF_OPEN.gauge, State.OPEN.gauge]
    assert gauges == [0, 0.5, 1]


# The integration rows' cycles, without the wire


def test_full_recovery_cycle(story):
    story.request(429)
    story.request(429)
    assert story.refuses()
    assert (story.reading().trips, story.reading().rejects) == (1, 1)
    assert story.reading().state.gauge == 1
    story.clock.now += 0.06
    for _ in range(4):
        story.request(200)
    assert story.reading().state.gauge == 0
    assert (story.reading().trips, story.reading().rejects) == (1, 1)


def test_half_open_failure(story):
    story.request(429)
    story.request(429)
    story.clock.now += 0.06
    story.request(429)
    assert story.refuses()
    assert (story.reading().trips, story.reading().state) == (2, State.OPEN)


def test_half_open_max_requests():
    story = Story(threshold=2, interval=60, timeout=0.05, max_requests=2)
    story.request(429)
    story.request(429)
    assert story.refuses()
    story.clock.now += 0.06
    admitted = [story.breakers.guard(MESSAGES, SONNET) for _ in range(2)]
    assert [story.refuses() for _ in range(3)] == [True] * 3
    assert story.reading().rejects == 1 + 3
    for admission in admitted:
        admission.report(200)
    assert story.reading().state is State.CLOSED


def test_model_that_fails_leaves_another_closed(story):
    story.request(429)
    story.request(429)
    for _ in range(4):
        story.request(200, HAIKU)
    assert (story.reading(HAIKU).trips, story.reading(HAIKU).state.gauge) == (0, 0)
    story.clock.now += 0.5
    story.request(200)
    assert story.reading().state is State.CLOSED


# Semantics of section 9


def test_only_consecutive_failures_trip():
    story = Story(threshold=2)
    for status in (429, 200, 429, 500, 503):
        story.request(status)
    assert not story.refuses()


def test_interval_starts_the_count_anew():
    story = Story(threshold=2, interval=10)
    story.request(429)
    story.clock.now += 10.1
    story.request(429)
    assert not story.refuses()
    story.request(429)
    story.request(429)
    assert story.refuses()


def test_interval_of_zero_never_forgets():
    story = Story(threshold=2, interval=0)
    story.request(429)
    story.clock.now += 1e9
    story.request(429)
    assert story.refuses()


def test_status_that_was_never_written_is_a_success(story):
    story.request(429)
    story.request(None)
    story.request(429)
    assert not story.refuses()


def test_result_from_before_a_change_of_state_has_no_say(story):
    late = story.breakers.guard(MESSAGES, SONNET)
    story.request(429)
    story.request(429)
    story.clock.now += 0.06
    probing = story.breakers.guard(MESSAGES, SONNET)
    late.report(429)
    assert story.reading().state is State.HALF_OPEN
    probing.report(200)
    assert story.reading().state is State.CLOSED


def test_report_counts_once():
    story = Story(threshold=2)
    admission = story.breakers.guard(MESSAGES, SONNET)
    admission.report(429)
    admission.report(429)
    assert not story.refuses()


def test_reading_shows_half_open_as_soon_as_the_timeout_is_over(story):
    story.request(429)
    story.request(429)
    assert story.reading().state is State.OPEN
    story.clock.now += 0.06
    assert story.reading().state is State.HALF_OPEN
    assert story.changes[-1].after is State.OPEN


def test_models_invented_by_clients_do_not_fill_the_memory():
    story = Story(threshold=1)
    story.request(429)
    for number in range(3000):
        story.request(200, f"model-{number}")
    assert len(story.breakers.readings()) <= 1000
    assert story.refuses()


# One set per provider


def test_set_of_a_provider_is_kept_while_its_options_are():
    breakers = Breakers()
    options = BreakerOptions(threshold=1)
    kept = breakers.of("anthropic", "anthropic", options)
    assert breakers.of("anthropic", "anthropic", BreakerOptions(threshold=1)) is kept
    assert breakers.of("anthropic", "anthropic", BreakerOptions()) is not kept
    assert breakers.of("other", "anthropic", options) is not kept


def test_provider_without_options_has_no_breaker():
    breakers = Breakers()
    breakers.of("anthropic", "anthropic", BreakerOptions())
    assert breakers.of("anthropic", "anthropic", None) is None
    assert breakers.readings() == {}


def test_changes_are_told_with_the_providers_name():
    told = []
    breakers = Breakers(lambda name, change: told.append((name, change.after)))
    found = breakers.of("main", "openai", BreakerOptions(threshold=1))
    found.guard(MESSAGES, SONNET).report(503)
    assert told == [("main", State.OPEN)]

"""The audit finds each kind of loss; a run in which nothing was lost passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.chaos.audit import (
    INCOMPLETE,
    JOURNALED,
    OPEN,
    REFUSED,
    TWICE,
    UNEXPECTED,
    UNRECORDED,
    WRONG,
    Evidence,
    audit,
)
from tests.chaos.load import BROKEN_OFF, ERROR, LEFT, LOST, WHOLE, Seen
from tests.chaos.plans import BROKEN, CUT, GOOD, Plan, plan_of
from tests.chaos.records import Record


def _plans(**wanted: object) -> Iterator[Plan]:
    for number in range(100_000):
        plan = plan_of(number)
        if all(getattr(plan, name) == value for name, value in wanted.items()):
            yield plan


GOOD_PLAN = next(_plans(fate=GOOD, failing={}, leaves=False))
BROKEN_PLAN = next(_plans(fate=BROKEN, failing={}))
CUT_PLAN = next(_plans(fate=CUT, failing={}, streaming=True))


def record_of(plan: Plan, **changes: object) -> Record:
    record = Record(
        id=f"interception-{plan.number}",
        ended=True,
        outcome="completed",
        error_type=None,
        status=200,
        response_id=plan.response_id,
        numbers=[plan.number],
        usages=[plan.usage],
        attempts=[(0, "accepted")],
    )
    return replace(record, **changes)


def failed(plan: Plan, status: int) -> Record:
    return record_of(plan, outcome="failed", error_type="server_error", status=status)


def seen_of(plan: Plan, result: str = WHOLE, **changes: object) -> Seen:
    seen = Seen(plan.number, result, 10.0, 11.0, 200, f"interception-{plan.number}")
    return replace(seen, **changes)


def found(seen: Seen, *records: Record, tries: int = 1, **facts: object) -> set[str]:
    evidence = Evidence(
        seen=[seen],
        tries=Counter({seen.number: tries}),
        records=list(records),
        **{"kills": [], "outages": []} | facts,
    )
    return {rule for rule, findings in audit(evidence).items() if findings}


@pytest.mark.parametrize(
    ("seen", "record", "facts"),
    [
        (seen_of(GOOD_PLAN), record_of(GOOD_PLAN), {}),
        (seen_of(BROKEN_PLAN, ERROR, status=500), failed(BROKEN_PLAN, 500), {}),
        (seen_of(CUT_PLAN, BROKEN_OFF), failed(CUT_PLAN, 200), {}),
        (seen_of(GOOD_PLAN, LEFT), record_of(GOOD_PLAN, outcome="cancelled"), {}),
        (seen_of(GOOD_PLAN, LOST), record_of(GOOD_PLAN), {"kills": [10.5]}),
        (
            seen_of(GOOD_PLAN, ERROR, status=503),
            failed(GOOD_PLAN, 503),
            {"outages": [(9.0, 12.0)], "tries": 0},
        ),
    ],
)
def test_a_run_without_losses_passes(seen: Seen, record: Record, facts: dict):
    assert found(seen, record, **facts) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "another"},
        {"outcome": "failed", "error_type": "unknown"},
        {"response_id": ""},
        {"usages": []},
        {"attempts": []},
        {"attempts": [(0, "accepted"), (1, "accepted")]},
        {"attempts": [(0, "cancelled")]},
    ],
    ids=str,
)
def test_a_whole_answer_with_an_incomplete_record_is_found(changes: dict):
    assert found(seen_of(GOOD_PLAN), record_of(GOOD_PLAN, **changes)) == {INCOMPLETE}


def test_a_whole_answer_without_a_prompt_counts_as_unrecorded():
    record = record_of(GOOD_PLAN, numbers=[])
    assert found(seen_of(GOOD_PLAN), record) == {UNRECORDED, INCOMPLETE}


def test_a_row_in_progress_is_found():
    record = record_of(GOOD_PLAN, ended=False, outcome="in_progress")
    assert OPEN in found(seen_of(GOOD_PLAN, LOST), record, kills=[10.5])


@pytest.mark.parametrize(
    "records",
    [
        [record_of(GOOD_PLAN), record_of(GOOD_PLAN, id="another")],
        [record_of(GOOD_PLAN, numbers=[GOOD_PLAN.number] * 2)],
    ],
    ids=["interceptions", "prompts"],
)
def test_what_is_recorded_twice_is_found(records: list[Record]):
    assert TWICE in found(seen_of(GOOD_PLAN), *records)


def test_usage_and_attempts_that_are_recorded_twice_are_found():
    twice = record_of(GOOD_PLAN, usages=[GOOD_PLAN.usage] * 2)
    assert found(seen_of(GOOD_PLAN), twice) == {TWICE, INCOMPLETE}
    twice = record_of(GOOD_PLAN, attempts=[(0, "accepted"), (0, "accepted")])
    assert found(seen_of(GOOD_PLAN), twice, tries=2) == {TWICE}


def test_a_refused_request_that_went_upstream_is_found():
    refused = seen_of(GOOD_PLAN, ERROR, status=503)
    record = failed(GOOD_PLAN, 503)
    assert found(refused, record, outages=[(9.0, 12.0)]) == {REFUSED}


@pytest.mark.parametrize(
    "seen",
    [
        seen_of(GOOD_PLAN, ERROR, status=503),
        seen_of(GOOD_PLAN, ERROR, status=404),
        seen_of(GOOD_PLAN, ERROR, status=500),
        seen_of(GOOD_PLAN, BROKEN_OFF),
        seen_of(GOOD_PLAN, LOST),
    ],
    ids=lambda seen: f"{seen.result} {seen.status}",
)
def test_an_error_that_nothing_excuses_is_found(seen: Seen):
    long_ago = {"kills": [1.0], "outages": [(1.0, 2.0)]}
    record = failed(GOOD_PLAN, seen.status or 0)
    tries = 0 if seen.status == 503 else 1
    assert found(seen, record, tries=tries, **long_ago) == {UNEXPECTED}


def test_a_failure_that_is_recorded_as_a_success_is_found():
    assert found(seen_of(CUT_PLAN, BROKEN_OFF), record_of(CUT_PLAN)) == {WRONG}
    refused = seen_of(BROKEN_PLAN, ERROR, status=500)
    assert found(refused, record_of(BROKEN_PLAN)) == {WRONG}
    left = seen_of(GOOD_PLAN, LEFT)
    assert found(left, failed(GOOD_PLAN, 200)) == {WRONG}


def test_a_short_answer_that_passes_for_a_whole_is_found():
    assert WRONG in found(seen_of(CUT_PLAN), record_of(CUT_PLAN))


def test_records_that_stay_in_journals_are_found():
    record = record_of(GOOD_PLAN)
    assert found(seen_of(GOOD_PLAN), record, journaled=2) == {JOURNALED}

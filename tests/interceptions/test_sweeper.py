"""The sweeper: no interception stays open for ever, and none is closed too early."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError

from interceptions import recorder, recording_process
from interceptions.journal import Journal
from interceptions.models import Interception, Session, Worker
from interceptions.records import Record, ended
from interceptions.sweeper import MESSAGE, Sweeper, close_worker
from interceptions.worker import adopt_leftovers
from providers.ids import new_id
from proxy.dialects.base import ToolCall, Turn, Usage
from tests.interceptions.rows import (
    attempt_facts,
    make_interception,
    make_user,
    start_facts,
)

WINDOW = 30


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ana(db):
    return make_user("ana")


def store(records: list[Record]) -> None:
    recording_process.current().store(records)


@pytest.fixture
def sweeper(db, clock):
    return Sweeper(store, WINDOW, clock)


def make_worker(**fields) -> Worker:
    now = datetime.now(UTC)
    given = {"node": "a", "pid": 1, "started_at": now, "beat_at": now}
    return Worker.objects.create(**given | fields)


def open_row(user, worker: Worker | None = None, **fields) -> Interception:
    return make_interception(user, worker=worker and worker.pk, **fields)


def watch(sweeper: Sweeper, clock: Clock, seconds: float, looks: int = 4) -> int:
    """Look several times in so many seconds; return how many rows were closed."""
    closed = sweeper.sweep()
    for _ in range(looks - 1):
        clock.now += seconds / (looks - 1)
        closed += sweeper.sweep()
    return closed


def test_rows_of_a_worker_that_stopped_beating_are_ended(sweeper, clock, ana):
    worker = make_worker()
    row = open_row(ana, worker)
    assert watch(sweeper, clock, WINDOW) == 1
    row.refresh_from_db()
    assert (row.outcome, row.error_type) == ("failed", "unknown")
    assert row.error_message == MESSAGE
    assert row.ended_at == max(worker.beat_at, row.started_at)
    assert not Worker.objects.exists()


def test_a_worker_that_beats_is_left_alone(sweeper, clock, ana):
    worker = make_worker()
    row = open_row(ana, worker)
    for _ in range(10):
        worker.beat_at += timedelta(seconds=10)
        worker.save()
        assert sweeper.sweep() == 0
        clock.now += 10
    row.refresh_from_db()
    assert row.outcome == "in_progress"


def test_an_old_heartbeat_alone_proves_nothing(sweeper, clock, ana):
    worker = make_worker(beat_at=datetime.now(UTC) - timedelta(days=1))
    open_row(ana, worker)
    assert sweeper.sweep() == 0
    assert watch(sweeper, clock, WINDOW - 1) == 0


def test_two_looks_are_too_few_however_far_apart(sweeper, clock, ana):
    open_row(ana, make_worker())
    sweeper.sweep()
    clock.now += 10 * WINDOW
    assert sweeper.sweep() == 0


def test_after_an_outage_everybody_gets_a_whole_window_again(sweeper, clock, ana):
    open_row(ana, make_worker())
    watch(sweeper, clock, WINDOW - 1)
    sweeper.forget()
    clock.now += WINDOW
    assert watch(sweeper, clock, WINDOW - 1) == 0
    assert watch(sweeper, clock, 1) == 1


def test_rows_of_a_worker_without_a_row_of_its_own_are_ended(sweeper, clock, ana):
    row = make_interception(ana, worker=new_id())
    assert watch(sweeper, clock, WINDOW) == 1
    row.refresh_from_db()
    assert row.outcome == "failed"
    assert row.ended_at > row.started_at


def test_a_row_no_worker_served_is_ended_after_a_day(sweeper, ana):
    now = datetime.now(UTC)
    young = open_row(ana, started_at=now - timedelta(hours=23))
    old = open_row(ana, started_at=now - timedelta(hours=25))
    assert sweeper.sweep() == 1
    young.refresh_from_db()
    old.refresh_from_db()
    assert (young.outcome, old.outcome) == ("in_progress", "failed")


def test_ended_rows_stay_as_they_are(sweeper, clock, ana):
    row = open_row(ana, make_worker(), ended_at=datetime.now(UTC))
    watch(sweeper, clock, WINDOW)
    row.refresh_from_db()
    assert row.outcome == "completed"


def test_an_idle_dead_worker_is_struck_off(sweeper, clock):
    make_worker()
    watch(sweeper, clock, WINDOW)
    assert not Worker.objects.exists()


def test_a_dead_worker_whose_journal_waits_stays_listed(sweeper, clock, ana):
    worker = make_worker(journal_records=3)
    row = open_row(ana, worker)
    assert watch(sweeper, clock, WINDOW) == 1
    assert Worker.objects.get().pk == worker.pk
    row.refresh_from_db()
    assert row.outcome == "failed"


def test_what_was_known_until_then_is_added_up(sweeper, clock, ana):
    recording = recorder.start(start_facts(ana))
    recording.attempt(**attempt_facts())
    calls = [ToolCall("t1", "Bash"), ToolCall("t2", "Bash")]
    recording.turn(Turn("m", usage=Usage(1, 2, 3, 4), tool_calls=calls))
    recording.attempt(**attempt_facts(turn=1))
    worker = make_worker()
    Interception.objects.update(worker=worker.pk)
    watch(sweeper, clock, WINDOW)
    row = Interception.objects.get()
    assert (row.input_tokens, row.output_tokens) == (1, 2)
    assert (row.cache_read_input_tokens, row.cache_write_input_tokens) == (3, 4)
    assert (row.tool_calls, row.turns) == (2, 1)
    session = Session.objects.get()
    assert (session.failures, session.tool_calls, session.input_tokens) == (1, 2, 1)


def test_many_rows_are_ended_in_parts(ana):
    worker = make_worker()
    for _ in range(3):
        open_row(ana, worker)
    stored: list[int] = []

    def counting(records: list[Record]) -> None:
        stored.append(len(records))
        store(records)

    assert close_worker(worker.pk, counting) == 3
    assert sum(stored) == 3


def test_a_failure_to_store_passes_through_and_nothing_is_struck_off(ana):
    worker = make_worker()
    open_row(ana, worker)

    def failing(records: list[Record]) -> None:
        raise OperationalError("away")

    with pytest.raises(OperationalError):
        close_worker(worker.pk, failing)
    assert Worker.objects.exists()


# A worker that only seemed dead


@pytest.fixture
def swept(ana):
    """A recording whose interception the sweeper ended meanwhile."""
    recording = recorder.start(start_facts(ana))
    worker = make_worker()
    Interception.objects.update(worker=worker.pk)
    close_worker(worker.pk, store)
    assert Interception.objects.get().outcome == "failed"
    return recording


def test_a_true_end_replaces_the_sweepers(swept):
    swept.attempt(**attempt_facts())
    swept.turn(Turn("m", usage=Usage(1, 2), tool_calls=[ToolCall("t", "x")]))
    swept.end(status_code=200)
    row = Interception.objects.get()
    assert (row.outcome, row.error_message, row.status_code) == ("completed", None, 200)
    assert (row.input_tokens, row.metadata) == (1, {})
    assert row.token_usages.count() == 1
    session = Session.objects.get()
    assert (session.interceptions, session.failures) == (1, 0)
    assert (session.tool_calls, session.output_tokens) == (1, 2)


def test_a_true_failure_replaces_the_sweepers(swept):
    swept.end(status_code=429, error=("rate_limited", "slow down"))
    row = Interception.objects.get()
    assert (row.error_type, row.error_message) == ("rate_limited", "slow down")
    assert Session.objects.get().failures == 1


def test_the_sweeper_never_replaces_a_true_end(ana):
    recording = recorder.start(start_facts(ana))
    recording.end(status_code=200)
    store([Record(recording.id, end=ended(recording.id, is_swept=True))])
    assert Interception.objects.get().metadata == {}


def test_other_facts_in_the_metadata_survive_both(ana):
    recording = recorder.start(start_facts(ana, metadata={"a": 1}))
    worker = make_worker()
    Interception.objects.update(worker=worker.pk)
    close_worker(worker.pk, store)
    assert Interception.objects.get().metadata == {"a": 1, "swept": True}
    recording.end(status_code=200)
    assert Interception.objects.get().metadata == {"a": 1}


# Journals of this machine come first


@pytest.fixture
def data_dir(settings, tmp_path):
    settings.AIBRIDGE_DATA_DIR = tmp_path
    return tmp_path


def dead_worker_with_journal(user, *, journaled: bool) -> Interception:
    """Leave an open row, and its end in the journal of a process that died."""
    worker = make_worker()
    row = open_row(user, worker)
    journal = Journal(recording_process.journal_directory(), worker.pk)
    end = ended(row.pk, status_code=200, input_tokens=7)
    journal.append([Record(row.pk, end=end)] if journaled else [])
    journal.open()
    # As the kernel does when a process is killed: locks go, files stay.
    os.close(journal._file._descriptor)
    return row


def test_the_journal_is_replayed_before_rows_are_ended(data_dir, ana):
    known = dead_worker_with_journal(ana, journaled=True)
    unknown = dead_worker_with_journal(ana, journaled=False)
    assert adopt_leftovers(recording_process.current()) == (1, 1)
    known.refresh_from_db()
    unknown.refresh_from_db()
    assert (known.outcome, known.input_tokens) == ("completed", 7)
    assert unknown.outcome == "failed"
    assert not Worker.objects.exists()


def test_the_replay_command_says_what_it_did(data_dir, ana):
    dead_worker_with_journal(ana, journaled=True)
    dead_worker_with_journal(ana, journaled=False)
    printed = StringIO()
    call_command("replay_journal", stdout=printed)
    assert printed.getvalue() == "replayed: 1, ended: 1\n"


def test_the_sweep_command_ends_rows_of_this_machine_and_of_others(data_dir, ana):
    dead_worker_with_journal(ana, journaled=False)
    open_row(ana, make_worker(node="elsewhere"))
    printed = StringIO()
    call_command("sweep_interceptions", "--wait", "0.06", stdout=printed)
    assert printed.getvalue() == "ended: 2\n"
    assert not Interception.objects.filter(ended_at=None).exists()

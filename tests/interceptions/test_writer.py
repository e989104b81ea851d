"""The writer: many requests share a commit, and none is lost when there is none."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import OperationalError, connection, connections
from django.db.models import Count, Sum

from interceptions import recorder, recording_process, rollup
from interceptions.committer import Committer, DatabaseAway
from interceptions.journal import Journal
from interceptions.link import CallersLink
from interceptions.models import Attempt, Interception, Session, TokenUsage
from interceptions.recorder import RecordingUnavailable
from interceptions.records import END, Record, ended
from interceptions.worker import adopt_leftovers
from interceptions.writer import Direct, QueueFull, Ticket, Writer
from providers.ids import new_id
from proxy.dialects.base import Thought, ToolCall, Turn, Usage
from tests.interceptions.outages import *  # noqa: F403
from tests.interceptions.outages import impatient, in_threads
from tests.interceptions.rows import (
    attempt_facts,
    make_provider,
    make_user,
    start_facts,
)


@pytest.fixture
def ana(transactional_db):
    return make_user("ana")


def record_one(user, **facts) -> recorder.Recording:
    recording = recorder.start(start_facts(user, **facts))
    finish(recording)
    return recording


def finish(recording: recorder.Recording) -> None:
    recording.attempt(**attempt_facts())
    recording.turn(
        Turn(
            "msg",
            usage=Usage(1, 2, 3, 4),
            tool_calls=[ToolCall("t", "Bash")],
            thoughts=[Thought("thinking", "hm")],
        )
    )
    recording.end(status_code=200)


def assert_whole(count: int) -> None:
    """Every interception ended once, with one of each child, and sessions add up."""
    rows = Interception.objects.all()
    assert rows.count() == count
    assert rows.filter(outcome="completed", input_tokens=1).count() == count
    for model in (Attempt, TokenUsage):
        owners = model.objects.values("interception").annotate(n=Count("pk"))
        assert len(owners) == count
        assert {row["n"] for row in owners} <= {1}
    assert_sessions_add_up()


def assert_sessions_add_up() -> None:
    kept = list(Session.objects.order_by("id").values())
    rollup.recompute(Session.objects.values_list("initiator_id", "session_id"))
    assert list(Session.objects.order_by("id").values()) == kept


def test_what_a_worker_records_is_committed_when_end_returns(worker, ana):
    recording = record_one(ana)
    connections.close_all()
    row = Interception.objects.get(pk=recording.id)
    assert row.outcome == "completed"
    assert row.worker == worker.worker


def test_a_start_is_committed_when_it_returns(worker, ana):
    recording = recorder.start(start_facts(ana))
    assert Interception.objects.get(pk=recording.id).outcome == "in_progress"


def test_concurrent_requests_are_all_stored(worker, ana):
    def work(number: int) -> None:
        for _ in range(5):
            record_one(ana, client_session_id=f"s{number % 7}")

    in_threads(40, work)
    assert_whole(200)
    assert Session.objects.aggregate(n=Sum("interceptions"))["n"] == 200


def test_the_end_of_a_worker_stores_what_nobody_waited_for(worker, ana):
    recording = recorder.start(start_facts(ana))
    for _ in range(20):
        recording.attempt(**attempt_facts(outcome="rate_limited", status=429))
    recorder.end_worker()
    assert Attempt.objects.count() == 20


def test_after_the_end_of_a_worker_records_are_stored_directly(worker, ana):
    recording = recorder.start(start_facts(ana))
    recorder.end_worker()
    finish(recording)
    assert_whole(1)


# When the database is away


@impatient
def test_a_start_fails_while_the_database_is_away(worker, database, ana):
    with database.away(), pytest.raises(RecordingUnavailable):
        recorder.start(start_facts(ana))
    replay(worker)
    assert Interception.objects.count() == 0
    record_when_possible(ana)
    assert_whole(1)


def record_when_possible(user) -> None:
    """Record an interception as soon as the writer dares to ask the database again."""
    deadline = time.monotonic() + 10
    while True:
        try:
            record_one(user)
            return
        except RecordingUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_moment_without_database_is_noticed_by_nobody(worker, database, ana):
    recorded = threading.Thread(target=lambda: record_one(ana))
    with database.away():
        recorded.start()
        time.sleep(0.15)
    recorded.join()
    assert worker.journal.waiting == 0
    assert_whole(1)


@impatient
def test_an_end_is_journaled_while_the_database_is_away_and_replayed(
    worker, database, ana
):
    recording = recorder.start(start_facts(ana))
    with database.away():
        began = time.monotonic()
        finish(recording)
        assert time.monotonic() - began < 10
        assert worker.journal.waiting >= 1
    replay(worker)
    assert_whole(1)
    assert worker.journal.waiting == 0


def test_a_journaled_end_that_was_stored_after_all_is_not_stored_twice(worker, ana):
    recording = recorder.start(start_facts(ana))
    recording.attempt(**attempt_facts())
    recording.turn(Turn("msg", usage=Usage(1)))
    ending = recording._record(None)
    recording._rows = dict(ending.rows)
    recording.end(status_code=200)
    end = Interception.objects.get(pk=recording.id)
    again = Record(recording.id, None, ending.rows, _end_of(end), begun=ending.begun)
    worker.keep([again])
    worker.keep([again])
    replay(worker)
    assert_whole(1)


def _end_of(row: Interception):
    facts = {name: getattr(row, name) for name in END if name != "id"}
    return ended(row.pk, **facts)


def test_a_start_the_database_lost_is_restored_with_its_journaled_end(worker, ana):
    recording = recorder.start(start_facts(ana))
    recording.attempt(**attempt_facts())
    recording.turn(Turn("msg", usage=Usage(1)))
    record = recording._record(None)
    Interception.objects.all().delete()
    Session.objects.all().delete()
    record.end = ended(recording.id, status_code=200, input_tokens=1, turns=1)
    worker.keep([record])
    replay(worker)
    assert_whole(1)
    assert Interception.objects.get().prompts.count() == 1


def replay(worker) -> None:
    """Replay as soon as the writer dares to ask the database again."""
    deadline = time.monotonic() + 10
    while True:
        try:
            worker.journal.replay(worker.store)
            return
        except DatabaseAway:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.postgres
@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has no connections to cut"
)
def test_a_cut_connection_is_replaced_without_anybody_noticing(worker, database, ana):
    for _ in range(5):
        record_one(ana)
        connections.close_all()
        database.cut()
    record_one(ana)
    assert worker.journal.waiting == 0
    assert_whole(6)


# A start that is refused is tried again here, so this one may give up early.
@pytest.mark.parametrize("commit_seconds", [0.5])
def test_two_hundred_threads_and_a_database_that_comes_and_goes(worker, database, ana):
    calm = threading.Event()
    refused = []

    def upset() -> None:
        for _ in range(6):
            time.sleep(0.05)
            if connection.vendor == "postgresql":
                database.cut()
            time.sleep(0.05)
            with database.away():
                time.sleep(0.1)
        connections.close_all()
        calm.set()

    def work(number: int) -> None:
        for _ in range(3):
            while True:
                try:
                    record_one(ana, client_session_id=f"s{number % 5}")
                    break
                except RecordingUnavailable:
                    refused.append(number)
                    calm.wait(0.2)

    upsetter = threading.Thread(target=upset)
    upsetter.start()
    in_threads(200, work)
    upsetter.join()
    connections.close_all()
    replay(worker)
    served = Interception.objects.exclude(error_type="server_error")
    assert served.count() == 600
    assert served.filter(outcome="completed").count() == 600
    assert not Interception.objects.filter(ended_at=None).exists()
    assert TokenUsage.objects.count() == Attempt.objects.count() == 600
    assert_sessions_add_up()


# Records that cannot be stored


def test_a_key_that_was_deleted_meanwhile_leaves_the_attempt(worker, ana):
    key = make_provider("claude").keys.create(secret="sk-1", position=0)
    recording = recorder.start(start_facts(ana))
    key.delete()
    recording.attempt(**attempt_facts(key_id=key.pk))
    recording.end(status_code=200)
    assert Attempt.objects.get().key is None
    assert Interception.objects.get().outcome == "completed"


def test_a_provider_that_was_deleted_meanwhile_leaves_its_name(worker, ana):
    facts = start_facts(ana, provider_id=new_id(), token_id=new_id())
    recording = recorder.start(facts)
    row = Interception.objects.get(pk=recording.id)
    assert (row.provider, row.token, row.provider_name) == (None, None, "claude")


def test_an_initiator_that_does_not_exist_refuses_the_start_only(worker, ana):
    def work(number: int) -> None:
        if number:
            record_one(ana)
            return
        facts = start_facts(ana)
        unknown = {f: getattr(facts, f) for f in facts.__slots__} | {"initiator_id": 0}
        with pytest.raises(RecordingUnavailable):
            recorder.start(recorder.Start(**unknown))

    in_threads(10, work)
    assert_whole(9)


def poisoned(recording: recorder.Recording) -> None:
    """Make an end that no database takes."""
    recording.turn(Turn("msg", usage=Usage(1)))
    (row,) = recording._rows["token_usages"]
    row["created_at"] = "not a moment"


def test_a_record_that_cannot_be_stored_is_buried_and_its_interception_ends(
    worker, ana, tmp_path
):
    recording = recorder.start(start_facts(ana))
    poisoned(recording)
    recording.end(status_code=502, error=("server_error", "broke"))
    row = Interception.objects.get()
    assert (row.outcome, row.error_type) == ("failed", "server_error")
    letters = (tmp_path / "journal" / "dead-letters.jsonl").read_text()
    assert str(recording.id) in letters


def test_a_record_that_cannot_be_stored_takes_no_other_down(worker, ana):
    def work(number: int) -> None:
        recording = recorder.start(start_facts(ana))
        if number == 13:
            poisoned(recording)
            recording.end(status_code=200)
        else:
            finish(recording)

    in_threads(30, work)
    assert Interception.objects.filter(outcome="completed").count() == 30
    assert TokenUsage.objects.count() == 29


def test_rows_of_an_interception_that_is_gone_are_dropped(worker, ana):
    recording = recorder.start(start_facts(ana))
    Interception.objects.all().delete()
    finish(recording)
    assert TokenUsage.objects.count() == 0
    record_one(ana)


# The queue


class Stuck:
    """A committer that commits nothing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[int] = []

    def commit(self, records):
        self.batches.append(len(records))
        self.go.wait(10)
        return {}

    def close(self) -> None:
        pass


@pytest.fixture
def stuck():
    return Stuck()


@pytest.fixture
def small_writer(stuck, tmp_path):
    writer = Writer(lambda: stuck, Journal(tmp_path, new_id()), queue_limit=3)
    writer.start()
    yield writer
    stuck.go.set()
    writer.stop(5)


def wait_until(condition) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_full_queue_refuses_after_waiting(small_writer, stuck):
    small_writer.submit(Record(new_id()))
    wait_until(lambda: stuck.batches)
    for _ in range(3):
        small_writer.submit(Record(new_id()))
    began = time.monotonic()
    with pytest.raises(QueueFull):
        small_writer.submit(Record(new_id()), 0.05)
    assert time.monotonic() - began >= 0.05


def test_who_waits_for_room_gets_it(small_writer, stuck):
    for _ in range(4):
        small_writer.submit(Record(new_id()), 1)
        wait_until(lambda: stuck.batches)
    threading.Timer(0.05, stuck.go.set).start()
    assert small_writer.submit(Record(new_id()), 5).wait(5)


def test_what_comes_during_a_commit_shares_the_next(small_writer, stuck):
    small_writer.submit(Record(new_id()))
    wait_until(lambda: stuck.batches)
    tickets = [small_writer.submit(Record(new_id())) for _ in range(3)]
    stuck.go.set()
    assert all(ticket.wait(5) for ticket in tickets)
    assert stuck.batches == [1, 3]


def test_a_record_can_be_withdrawn_until_its_commit_begins(small_writer, stuck):
    begun = small_writer.submit(Record(new_id()))
    wait_until(lambda: stuck.batches)
    queued = small_writer.submit(Record(new_id()))
    assert not queued.wait(0.01)
    assert small_writer.withdraw(queued)
    assert not small_writer.withdraw(begun)
    stuck.go.set()
    assert begun.wait(5)
    assert stuck.batches == [1]


def test_a_commit_that_hangs_lets_the_answer_go_in_time(stuck, settings, tmp_path, ana):
    settings.AIBRIDGE_COMMIT_SECONDS = 0.05
    settings.AIBRIDGE_DATA_DIR = tmp_path
    journal = Journal(tmp_path, new_id())
    writer = Writer(lambda: stuck, journal, queue_limit=10)
    writer.start()
    process = recording_process.RecordingProcess(new_id(), writer, journal)
    process.commit_or_keep(Record(new_id(), end={"id": new_id()}))
    assert journal.waiting == 1
    stuck.go.set()
    writer.stop(5)
    journal.close()


class FailingLink(CallersLink):
    """Fails in turn as the script says: before a commit, or right after it."""

    def __init__(self, *script: str) -> None:
        self.script = list(script)

    def transaction(self):
        step = self.script.pop(0) if self.script else ""
        return _Failing(super().transaction(), step)


class _Failing:
    def __init__(self, inner, step: str) -> None:
        self.inner, self.step = inner, step

    def __enter__(self):
        if self.step == "before":
            raise OperationalError("away")
        return self.inner.__enter__()

    def __exit__(self, *exc):
        self.inner.__exit__(*exc)
        if self.step == "after":
            raise OperationalError("the answer to COMMIT never came")


@pytest.fixture
def record_over(ana, settings, tmp_path):
    """Return a function that records one interception over a link that fails."""
    settings.AIBRIDGE_DATA_DIR = tmp_path
    # Only what the link does may fail here, on a slow machine, too.
    settings.AIBRIDGE_COMMIT_SECONDS = 30

    def run(*script: str) -> None:
        def committer() -> Committer:
            return Committer(FailingLink(*script), lambda record, reason: None, 0)

        journal = Journal(recording_process.journal_directory(), new_id())
        writer = Writer(committer, journal, 100)
        writer.start()
        process = recording_process.RecordingProcess(new_id(), writer, journal)
        try:
            with recording_process.using(process):
                record_one(ana)
        finally:
            writer.stop(5)
            journal.close()

    return run


@pytest.mark.parametrize(
    "script",
    [("before",), ("after",), ("", "before"), ("", "after"), ("after", "", "after")],
)
def test_one_failure_is_tried_again_and_stores_nothing_twice(record_over, script):
    record_over(*script)
    assert_whole(1)


def test_a_start_that_may_have_been_stored_is_ended_by_the_journal(record_over):
    with pytest.raises(RecordingUnavailable):
        record_over("after", "after")
    assert Interception.objects.get().ended_at is None
    adopt_leftovers(recording_process.current())
    row = Interception.objects.get()
    assert (row.outcome, row.error_type) == ("failed", "server_error")
    assert "nothing was sent" in row.error_message


class Interrupted(Direct):
    """Stores what is submitted, but whoever waits for it is killed."""

    def submit(self, record, patience=0, *, journals=True):
        super().submit(record, patience, journals=journals)
        return KilledTicket(record, journals=journals)


class KilledTicket(Ticket):
    def wait(self, seconds):
        raise GeneratorExit


def test_a_start_whose_request_is_killed_meanwhile_is_ended_by_the_journal(
    ana, settings, tmp_path
):
    settings.AIBRIDGE_DATA_DIR = tmp_path
    journal = Journal(recording_process.journal_directory(), new_id())
    committer = Committer(CallersLink(), lambda record, reason: None, 0)
    sink = Interrupted(committer, journal)
    process = recording_process.RecordingProcess(None, sink, journal)
    with recording_process.using(process), pytest.raises(GeneratorExit):
        recorder.start(start_facts(ana))
    assert Interception.objects.get().outcome == "in_progress"
    journal.close()
    adopt_leftovers(recording_process.current())
    assert Interception.objects.get().outcome == "failed"


def test_a_start_that_was_never_stored_leaves_no_trace(record_over):
    with pytest.raises(RecordingUnavailable):
        record_over("before", "before")
    adopt_leftovers(recording_process.current())
    assert Interception.objects.count() == Session.objects.count() == 0


def test_an_end_that_may_have_been_stored_is_stored_once(record_over):
    record_over("", "after", "after")
    adopt_leftovers(recording_process.current())
    assert_whole(1)

"""Storing batches: whatever is in them, rows and roll-ups agree afterwards."""

from __future__ import annotations

from itertools import islice

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import RawCursor

from interceptions import recorder, recording_process, rollup, store, store_postgres
from interceptions.link import writers_link
from interceptions.models import Attempt, Interception, Session, TokenUsage
from interceptions.records import Record, ended
from interceptions.writer import Ticket
from proxy.dialects.base import ToolCall, Turn, Usage
from tests.interceptions.rows import attempt_facts, make_user, start_facts


class Collector:
    """A sink that keeps what is recorded instead of storing it."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def submit(self, record, patience=0, *, journals=True) -> Ticket:
        self.records.append(record)
        ticket = Ticket(record, journals=journals)
        ticket.resolve(None)
        return ticket

    def withdraw(self, ticket) -> bool:
        return False


@pytest.fixture
def ana(db):
    return make_user("ana")


@pytest.fixture
def ben(db):
    return make_user("ben")


@pytest.fixture
def collected():
    """Collect what is recorded during a test."""
    collector = Collector()
    process = recording_process.RecordingProcess(None, collector, None)
    with recording_process.using(process):
        yield collector.records


def write(*records: Record) -> set:
    with transaction.atomic():
        return store.write(connection, records)


INTERCEPTIONS = st.lists(
    st.fixed_dictionaries(
        {
            "user": st.integers(0, 1),
            "session": st.sampled_from([None, None, "s", "t"]),
            "answers": st.none() | st.integers(0, 5),
            "model": st.sampled_from(["m1", "m2", ""]),
            "turns": st.integers(0, 2),
            "failed_attempts": st.integers(0, 1),
            "end": st.sampled_from(["none", "ok", "error", "cancel", "sweep"]),
            "prompt": st.sampled_from([None, "", "a", "b"]),
        }
    ),
    min_size=1,
    max_size=8,
)


def happen(number: int, user, facts: dict) -> None:
    answers = facts["answers"]
    recording = recorder.start(
        start_facts(
            user,
            client_session_id=facts["session"],
            correlating_tool_call_id=None if answers is None else f"call-{answers}",
            model=facts["model"],
            prompt=facts["prompt"],
        )
    )
    for _ in range(facts["failed_attempts"]):
        recording.attempt(**attempt_facts(outcome="rate_limited"))
    for turn in range(facts["turns"]):
        recording.attempt(**attempt_facts(turn=turn))
        call = ToolCall(f"call-{number}", "Bash")
        recording.turn(Turn("m", usage=Usage(1, 2, 3, 4), tool_calls=[call]))
    if facts["end"] == "sweep":
        end = ended(recording.id, is_swept=True, error_type="unknown",
                    error_message="gone")  # fmt: skip
        recording_process.current().sink.submit(Record(recording.id, end=end))
    elif facts["end"] != "none":
        error = ("server_error", "x") if facts["end"] == "error" else None
        cancelled = facts["end"] == "cancel"
        recording.end(status_code=200, error=error, cancelled=cancelled)


def sessions() -> list[dict]:
    return list(Session.objects.order_by("initiator", "session_id").values())


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(happenings=INTERCEPTIONS, data=st.data())
def test_sessions_always_agree_with_their_interceptions(
    ana, ben, collected, happenings, data
):
    collected.clear()
    users = [ana, ben]
    for number, facts in enumerate(happenings):
        happen(number, users[facts["user"]], facts)
    repeated = data.draw(st.lists(st.sampled_from(collected), max_size=4))
    stream = iter([*collected, *repeated])
    with transaction.atomic():
        while batch := list(islice(stream, data.draw(st.integers(1, 9)))):
            store.write(connection, batch)
        kept = sessions()
        rollup.recompute(Session.objects.values_list("initiator_id", "session_id"))
        recomputed = sessions()
        counted = (
            Interception.objects.count(),
            Attempt.objects.count(),
            TokenUsage.objects.count(),
        )
        transaction.set_rollback(True)
    assert kept == recomputed
    assert counted[0] == len(happenings)
    if all(facts["end"] in {"ok", "error", "cancel"} for facts in happenings):
        turns = sum(facts["turns"] for facts in happenings)
        failed = sum(facts["failed_attempts"] for facts in happenings)
        assert counted[1:] == (turns + failed, turns)


def test_a_start_and_its_end_may_come_in_one_batch(ana, collected):
    recording = recorder.start(start_facts(ana))
    recording.end(status_code=200)
    assert write(*collected) == {recording.id}
    assert Interception.objects.get().outcome == "completed"


def test_storing_twice_changes_nothing_and_says_so(ana, collected):
    recording = recorder.start(start_facts(ana))
    recording.attempt(**attempt_facts())
    recording.turn(Turn("m", usage=Usage(1)))
    recording.end(status_code=200)
    write(*collected)
    before = sessions(), list(Interception.objects.values())
    assert write(*collected) == set()
    assert (sessions(), list(Interception.objects.values())) == before
    assert TokenUsage.objects.count() == Attempt.objects.count() == 1


def test_of_two_ends_in_one_batch_the_first_counts(ana, collected):
    recording = recorder.start(start_facts(ana))
    first = Record(recording.id, end=ended(recording.id, status_code=200))
    second = Record(recording.id, end=ended(recording.id, status_code=500))
    write(collected[0])
    write(first, second)
    assert Interception.objects.get().status_code == 200


def test_the_end_of_an_unknown_interception_is_nothing(ana, collected):
    recording = recorder.start(start_facts(ana))
    assert write(Record(recording.id, end=ended(recording.id))) == set()
    assert Session.objects.count() == 0


def test_nothing_to_store_is_fine(db):
    assert write() == set()


def test_records_read_from_a_journal_are_stored_like_fresh_ones(ana, collected):
    recording = recorder.start(start_facts(ana, metadata={"a": 1}))
    recording.attempt(**attempt_facts(retry_after=1.5))
    recording.turn(Turn("m", usage=Usage(1, extra={"x": 1})))
    recording.end(status_code=200)
    write(*(Record.from_json(record.to_json()) for record in collected))
    row = Interception.objects.get()
    assert (row.outcome, row.metadata, row.pk) == ("completed", {"a": 1}, recording.id)
    assert row.attempts.get().retry_after == 1.5
    assert row.token_usages.get().extra == {"x": 1}
    start = collected[0].start
    assert row.started_at == start["started_at"]


def test_a_batch_of_hundreds_is_stored(ana, collected):
    for _ in range(600):
        recorder.start(start_facts(ana, client_session_id="s")).end(status_code=200)
    starts = [record for record in collected if record.start]
    ends = [record for record in collected if record.end]
    write(*starts)
    assert len(write(*ends)) == 600
    assert Session.objects.get().interceptions == 600


@pytest.fixture
def plan_of_a_batch(transactional_db):
    """Return a function that tells how PostgreSQL would store a batch now."""

    def explain() -> str:
        link = writers_link()
        statement = store_postgres._statement(True, ("token_usages",), True)
        with link.transaction() as own, RawCursor(own.connection) as cursor:
            cursor.execute(f"EXPLAIN {statement}", ["[]", "[]", "[]"])
            rows = cursor.fetchall()
        link.drop()
        return "\n".join(row[0] for row in rows)

    return explain


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")
@pytest.mark.parametrize("rows", [0, 40])
def test_a_plan_finds_parents_by_their_ids_however_small_tables_are(
    transactional_db, plan_of_a_batch, rows
):
    record_many(make_user("ana"), rows)
    plan = plan_of_a_batch()
    assert "Seq Scan" not in plan
    assert "Index Cond: ((tool_call_id)::text = (r.correlating" in plan
    assert "Index Cond: (id = t.interception_id)" in plan


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")
@pytest.mark.parametrize("analyzed", [False, True])
def test_a_plan_finds_rows_to_end_by_their_ids_as_soon_as_there_are_some(
    transactional_db, plan_of_a_batch, analyzed
):
    record_many(make_user("ana"), 100)
    if analyzed:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    update = plan_of_a_batch().partition("Update on interceptions_interception")[2]
    assert "Index Scan using interceptions_interception_pkey" in update[:600]
    assert "Index Cond: (id = r" in update[:600]


def record_many(user, count: int) -> None:
    for _ in range(count):
        recorder.start(start_facts(user)).end(status_code=200)

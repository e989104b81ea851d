"""A worker's upkeep: it beats, replays, sweeps and prunes without being asked."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections

from interceptions import recorder, recording_process
from interceptions.models import Interception, TokenUsage, Worker
from interceptions.records import Record, ended
from providers.ids import new_id
from proxy.dialects.base import Turn, Usage
from tests.interceptions.outages import *  # noqa: F403
from tests.interceptions.outages import impatient
from tests.interceptions.rows import make_interception, make_user, start_facts


@pytest.fixture
def ana(transactional_db):
    return make_user("ana")


@pytest.fixture
def quick(settings, tmp_path, commit_seconds):
    settings.AIBRIDGE_DATA_DIR = tmp_path
    settings.AIBRIDGE_COMMIT_SECONDS = commit_seconds
    settings.AIBRIDGE_SWEEP_SECONDS = 0.3
    settings.AIBRIDGE_RETENTION_DAYS = 0
    return settings


@pytest.fixture
def begin(transactional_db, quick):
    """Return a function that makes this process a worker until the test ends."""

    def begin():
        recorder.begin_worker()
        return recording_process.current()

    yield begin
    recorder.end_worker()
    connections.close_all()


def wait_until(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_is_listed_while_it_lives(begin):
    worker = begin().worker
    wait_until(Worker.objects.exists)
    row = Worker.objects.get()
    assert row.pk == worker
    assert row.node
    recorder.end_worker()
    assert not Worker.objects.exists()


def test_a_worker_beats(begin):
    begin()
    wait_until(Worker.objects.exists)
    first = Worker.objects.get().beat_at
    wait_until(lambda: Worker.objects.get().beat_at > first)


@impatient
def test_a_worker_replays_its_journal_once_the_database_is_back(begin, database, ana):
    process = begin()
    recording = recorder.start(start_facts(ana))
    recording.turn(Turn("m", usage=Usage(1)))
    with database.away():
        recording.end(status_code=200)
        # On a slow machine both the writer and who waited for it keep the end.
        assert process.journal.waiting in {1, 2}
    wait_until(lambda: process.journal.waiting == 0)
    assert Interception.objects.get().outcome == "completed"
    assert TokenUsage.objects.count() == 1


def test_a_worker_begins_while_the_database_is_away(begin, database, ana):
    with database.away():
        process = begin()
        time.sleep(0.2)
    wait_until(Worker.objects.exists)
    recorder.start(start_facts(ana)).end(status_code=200)
    assert Interception.objects.get().worker == process.worker


def test_rows_of_a_dead_worker_elsewhere_are_ended(begin, ana):
    row = make_interception(ana, worker=new_id())
    begin()
    wait_until(lambda: not Interception.objects.filter(ended_at=None).exists())
    row.refresh_from_db()
    assert row.error_type == "unknown"


def test_own_rows_stay_open(begin, ana):
    begin()
    recording = recorder.start(start_facts(ana))
    first = Worker.objects.get().beat_at if Worker.objects.exists() else None
    wait_until(
        lambda: Worker.objects.exists() and Worker.objects.get().beat_at != first
    )
    time.sleep(1)
    assert Interception.objects.get(pk=recording.id).outcome == "in_progress"
    recording.end(status_code=200)


def test_records_that_wait_are_counted_on_the_workers_row(begin, database, ana):
    process = begin()
    wait_until(Worker.objects.exists)
    orphan = new_id()
    with database.away():
        process.keep([Record(orphan, end=ended(orphan)) for _ in range(3)])
        assert process.journal.waiting == 3
    wait_until(lambda: process.journal.waiting == 0)
    wait_until(lambda: Worker.objects.get().journal_records == 0)


def test_old_interceptions_are_pruned_without_being_asked(begin, quick, ana):
    quick.AIBRIDGE_RETENTION_DAYS = 60
    now = datetime.now(UTC)
    old = now - timedelta(days=61)
    make_interception(ana, started_at=old, ended_at=old)
    young = make_interception(ana, ended_at=now)
    begin()
    wait_until(lambda: Interception.objects.count() == 1)
    assert Interception.objects.get() == young


DIES_WHILE_IT_SERVES = """
import os, sys, django
django.setup()
from django.contrib.auth import get_user_model
from django.db import connections
from interceptions import recorder, recording_process
from interceptions.records import Record, ended
from proxy.dialects.base import Turn, Usage
from tests.interceptions.rows import start_facts
connections["default"].settings_dict["NAME"] = sys.argv[1]
recorder.begin_worker()
ana = get_user_model().objects.get(username="ana")
recorder.start(start_facts(ana, model="cut"))
kept = recorder.start(start_facts(ana, model="kept"))
kept.turn(Turn("m", usage=Usage(1)))
record = kept._record(ended(kept.id, status_code=200, input_tokens=1))
recording_process.current().keep([record])
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_worker_left_is_taken_over(begin, ana, quick, monkeypatch):
    name = connections["default"].settings_dict["NAME"]
    monkeypatch.setenv("AIBRIDGE_DATA_DIR", str(quick.AIBRIDGE_DATA_DIR))
    monkeypatch.setenv("AIBRIDGE_SWEEP_SECONDS", "3600")
    with subprocess.Popen(
        [sys.executable, "-c", DIES_WHILE_IT_SERVES, str(name)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert Interception.objects.filter(ended_at=None).count() == 2
    begin()
    wait_until(lambda: not Interception.objects.filter(ended_at=None).exists())
    outcomes = dict(Interception.objects.values_list("model", "outcome"))
    assert outcomes == {"kept": "completed", "cut": "failed"}
    assert TokenUsage.objects.count() == 1

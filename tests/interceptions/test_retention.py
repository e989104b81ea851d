"""Retention: what is too old goes, whole, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from interceptions import recorder, retention
from interceptions.models import (
    Attempt,
    Facet,
    Interception,
    ModelThought,
    Session,
    TokenUsage,
    ToolUsage,
    UserPrompt,
)
from providers.models import Lease
from proxy.dialects.base import Thought, ToolCall, Turn, Usage
from tests.interceptions.rows import (
    attempt_facts,
    make_provider,
    make_user,
    start_facts,
)

CHILDREN = (Attempt, ModelThought, TokenUsage, ToolUsage, UserPrompt)


@pytest.fixture
def ana(db):
    return make_user("ana")


def ask(user, age: int, *, end: bool = True, **facts) -> Interception:
    """Record an interception with all its parts that started so many days ago."""
    recording = recorder.start(start_facts(user, **facts))
    if end:
        recording.attempt(**attempt_facts())
        tools, thoughts = [ToolCall("t", "Bash")], [Thought("thinking", "hm")]
        recording.turn(Turn("m", "", Usage(1, 1), tools, thoughts))
        recording.end(status_code=200)
    started = datetime.now(UTC) - timedelta(days=age)
    Interception.objects.filter(pk=recording.id).update(started_at=started)
    return Interception.objects.get(pk=recording.id)


def prune(days: int = 60, **options) -> retention.Pruned:
    return retention.prune(retention.cutoff(days), **options)


def test_old_interceptions_go_with_everything_that_belongs_to_them(ana):
    ask(ana, 61)
    young = ask(ana, 59)
    assert prune() == retention.Pruned(interceptions=1, sessions=1)
    assert list(Interception.objects.all()) == [young]
    for model in CHILDREN:
        assert [row.interception_id for row in model.objects.all()] == [young.pk]
    assert Session.objects.get().session_id == young.session_id


def test_what_is_in_progress_stays_however_old(ana):
    row = ask(ana, 900, end=False)
    assert prune().interceptions == 0
    assert Interception.objects.get() == row


def test_batches_are_small_and_everything_goes(ana):
    for _ in range(7):
        ask(ana, 61)
    assert prune(batch=2) == retention.Pruned(interceptions=7, sessions=7)
    assert not Interception.objects.exists()
    assert not any(model.objects.exists() for model in CHILDREN)


def test_who_has_little_time_prunes_a_part(ana):
    for _ in range(3):
        ask(ana, 61)
    first = prune(batch=2, seconds=0)
    assert first == retention.Pruned(interceptions=2, sessions=2, is_all=False)
    assert prune(batch=2).is_all
    assert not Interception.objects.exists()


def test_a_session_that_loses_some_is_counted_anew(ana):
    old, new = make_provider("old"), make_provider("new", "openai")
    ask(ana, 61, client_session_id="s", model="old", provider_id=old.pk)
    asked = {"provider_id": new.pk, "provider_kind": "openai"}
    young = ask(ana, 1, client_session_id="s", model="new", **asked)
    assert prune() == retention.Pruned(interceptions=1, sessions=0)
    session = Session.objects.get()
    assert session.provider_ids == [str(new.pk)]
    assert session.provider_kinds == ["openai"]
    assert (session.interceptions, session.input_tokens) == (1, 1)
    assert session.model_names == ["new"]
    assert session.started_at == young.started_at


def test_a_thread_survives_the_loss_of_its_root(ana):
    root = ask(ana, 61)
    child = ask(ana, 1, correlating_tool_call_id="t")
    assert child.thread_parent == root
    prune()
    child.refresh_from_db()
    assert child.thread_parent is None
    assert child.thread_id == root.pk
    assert Session.objects.get().threads == 1


def test_names_that_nothing_has_any_more_are_no_options(ana):
    ask(ana, 61, model="old")
    ask(ana, 1, model="new")
    prune()
    assert list(Facet.objects.filter(kind="model").values_list("value", flat=True)) == [
        "new"
    ]


def test_another_process_that_prunes_is_not_disturbed(ana):
    ask(ana, 61)
    until = datetime.now(UTC) + timedelta(minutes=5)
    Lease.objects.create(name="retention", holder="another", expires_at=until)
    with pytest.raises(retention.PruningElsewhere):
        prune()
    assert Interception.objects.exists()
    assert Lease.objects.get().holder == "another"


def test_counting_deletes_nothing_and_says_what_would_go(ana):
    ask(ana, 61)
    ask(ana, 61, client_session_id="s")
    ask(ana, 1, client_session_id="s")
    counted = retention.count(retention.cutoff(60))
    assert counted == retention.Pruned(interceptions=2, sessions=1)
    assert Interception.objects.count() == 3
    assert prune() == counted


def run(*arguments: str) -> str:
    printed = StringIO()
    call_command("prune_interceptions", *arguments, stdout=printed)
    return printed.getvalue().strip()


def test_the_command_prunes_as_the_setting_says(ana):
    ask(ana, 61)
    assert run() == "deleted: 1 interceptions, 1 sessions"
    assert run() == "deleted: 0 interceptions, 0 sessions"


def test_the_command_takes_days(ana):
    ask(ana, 5)
    assert run("--days", "6") == "deleted: 0 interceptions, 0 sessions"
    assert run("--days", "4") == "deleted: 1 interceptions, 1 sessions"


def test_a_dry_run_only_counts(ana):
    ask(ana, 61)
    assert run("--dry-run") == "would delete: 1 interceptions, 1 sessions"
    assert Interception.objects.exists()


def test_zero_days_keep_everything(ana):
    ask(ana, 9999)
    assert run("--days", "0") == "nothing deleted: interceptions are kept for ever"
    assert Interception.objects.exists()


def test_the_command_says_when_another_process_is_deleting(ana):
    ask(ana, 61)
    until = datetime.now(UTC) + timedelta(minutes=5)
    Lease.objects.create(name="retention", holder="another", expires_at=until)
    assert run() == "nothing deleted: another process is deleting"


@pytest.mark.parametrize("wrong", [("--days", "-1"), ("--batch", "0")])
def test_the_command_refuses_nonsense(ana, wrong):
    with pytest.raises(CommandError):
        run(*wrong)

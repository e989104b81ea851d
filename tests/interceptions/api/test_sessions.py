"""Listing sessions and reading their threads over REST."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from interceptions.models import Session
from proxy.actors import actors
from tests.interceptions.happenings import happen, turn_of
from tests.interceptions.rows import make_provider

EARLIER, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def names(answer):
    assert answer.status_code == 200, answer.json()
    return [row["session_id"] for row in answer.json()["sessions"]]


def threads_of(answer):
    assert answer.status_code == 200, answer.json()
    return [thread["id"] for thread in answer.json()["threads"]]


@pytest.fixture
def seven_threads(member):
    """A session of seven threads; returns their ids in order."""
    return [str(happen(member, session="long").pk) for _ in range(7)]


def test_list_has_the_last_active_first(as_auditor, member):
    for name in ("s-1", "s-2", "s-1"):
        happen(member, session=name)
    answer = as_auditor.get("sessions/")
    assert names(answer) == ["s-1", "s-2"]
    body = answer.json()
    assert (body["count"], body["count_is_capped"]) == (2, False)
    first = body["sessions"][0]
    assert first["interceptions"] == 2
    assert first["threads"] == 2
    assert first["initiator"]["username"] == "mia"
    assert first["providers"] == ["claude"]
    assert first["models"] == ["claude-sonnet-4-5"]
    assert first["token_usage_summary"]["output_tokens"] == 40
    assert first["last_prompt"] == "fix the test"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"initiator": "mia"}, ["s-3", "s-1"]),
        ({"provider": "openai-main"}, ["s-2"]),
        ({"provider_id": "openai-main"}, ["s-2"]),
        ({"provider_id": "none"}, ["s-3", "s-1"]),
        ({"kind": "openai"}, ["s-2"]),
        ({"model": "gpt-5.2"}, ["s-2"]),
        ({"model": "gpt-5"}, []),
        ({"client": "Codex"}, ["s-2"]),
        ({"session_id": "s-3"}, ["s-3"]),
        ({"failed": "true"}, ["s-2"]),
        ({"failed": "false"}, ["s-3", "s-1"]),
        ({"prompt": "dashboard"}, ["s-2"]),
        ({"q": "initiator:mia session_id:s-1"}, ["s-1"]),
        ({"started_after": "2020-01-01T00:00:00Z"}, ["s-3", "s-2", "s-1"]),
        ({"active_before": "2020-01-01T00:00:00Z"}, []),
    ],
)
def test_filter_finds(as_auditor, member, admin, query, expected):
    provider = make_provider("openai-main", "openai")
    happen(member, session="s-1")
    happen(
        admin,
        session="s-2",
        model="gpt-5.2",
        client="Codex",
        provider_id=provider.pk,
        provider_name="openai-main",
        provider_kind="openai",
        prompt="why is the dashboard slow?",
        error=("overloaded", "busy"),
    )
    happen(member, session="s-3")
    assert names(as_auditor.get("sessions/", **query)) == expected


def test_provider_finds_sessions_from_before_ids_were_stored(as_auditor, member):
    make_provider("claude")
    happen(member, session="named", provider_name="claude")
    happen(member, session="nameless", provider_name="")
    happen(member, session="other", provider_name="gone")
    found = as_auditor.get("sessions/", provider_id="claude")
    assert names(found) == ["nameless", "named"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"q": "ana"}, "q"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "a" + "f" * 44}, "cursor"),
        ({"failed": "maybe"}, "failed"),
        ({"limit": "0"}, "limit"),
        ({"after_id": str(uuid.uuid4())}, "after_id"),
        (
            {"active_after": "2026-02-02", "active_before": "2026"},
            "active_before",
        ),
    ],
)
def test_value_that_cannot_be_used_is_named(as_auditor, query, field):
    answer = as_auditor.get("sessions/", **query)
    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["validations"]] == [field]


def test_pages_lead_to_every_session_once_in_both_directions(as_auditor, member):
    for number in range(5):
        happen(member, session=f"s-{number}")
    # The same moment in several rows is no obstacle.
    Session.objects.update(last_active_at=Session.objects.earliest("id").last_active_at)
    expected = [
        row.session_id for row in Session.objects.order_by("-last_active_at", "-id")
    ]
    answer = as_auditor.get("sessions/", limit=2)
    seen = names(answer)
    while answer.json()["next"]:
        answer = as_auditor.get(answer.json()["next"])
        seen += names(answer)
    assert seen == expected
    back = as_auditor.get(answer.json()["previous"])
    assert names(back) == expected[2:4]


def test_cursor_stays_where_it_was_when_its_session_moves_on(as_auditor, member):
    for number in range(4):
        happen(member, session=f"s-{number}")
    first = as_auditor.get("sessions/", limit=2)
    assert names(first) == ["s-3", "s-2"]
    happen(member, session="s-2")
    assert names(as_auditor.get(first.json()["next"])) == ["s-1", "s-0"]


@pytest.mark.parametrize("sessions", [1, 15])
def test_list_takes_the_same_queries_however_long(
    as_auditor, member, django_assert_num_queries, sessions
):
    for number in range(sessions):
        happen(member, session=f"s-{number}")
    as_auditor.get("sessions/")
    actors.forget()
    with django_assert_num_queries(6):
        as_auditor.get("sessions/")


@pytest.mark.parametrize("threads", [1, 12])
def test_detail_takes_the_same_queries_however_long(
    as_auditor, member, django_assert_num_queries, threads
):
    for number in range(threads):
        happen(member, session="s", turns=[turn_of(f"call_{number}", thought="hm")])
    as_auditor.get("sessions/s/")
    actors.forget()
    with django_assert_num_queries(12):
        as_auditor.get("sessions/s/")


def test_thread_shows_root_prompt_actions_and_credentials(as_auditor, member):
    happen(
        member,
        session="s-1",
        turns=[turn_of("call_1", thought="I should list files")],
        hint="sk-a...9xQ2",
    )
    happen(member, session="s-1", answers="call_1", hint="sk-b...1111", model="m-2")
    body = as_auditor.get("sessions/s-1/").json()
    (thread,) = body["threads"]
    assert thread["prompt"] == "fix the test"
    assert thread["model"] == "claude-sonnet-4-5"
    assert thread["models"] == ["claude-sonnet-4-5", "m-2"]
    assert thread["credential_kind"] == "centralized"
    assert thread["credential_hint"] == "sk-a...9xQ2"
    assert [each["hint"] for each in thread["credentials"]] == [
        "sk-a...9xQ2",
        "sk-b...1111",
    ]
    assert thread["token_usage"]["input_tokens"] == 20
    first, second = thread["agentic_actions"]
    assert first["thinking"] == [{"source": "thinking", "text": "I should list files"}]
    assert first["tool_calls"][0]["tool"] == "Bash"
    assert first["token_usage"]["output_tokens"] == 20
    assert second["tool_calls"] == []
    assert body["page_started_at"] == thread["started_at"]


def test_token_counts_are_summed_anew_when_the_session_goes_on(as_auditor, member):
    for total in (5, 10):
        happen(member, session="s", turns=[turn_of(extra={"reasoning": 5})])
        for _ in range(2):
            summary = as_auditor.get("sessions/s/").json()["token_usage_summary"]
            assert summary["metadata"] == {"reasoning": total}


def test_token_counts_of_all_kinds_are_summed_by_their_path(as_auditor, member):
    for _ in range(2):
        happen(
            member,
            session="s-1",
            turns=[turn_of(extra={"cache_creation": {"ephemeral_5m": 4}, "tier": "x"})],
        )
    body = as_auditor.get("sessions/s-1/").json()
    summary = body["token_usage_summary"]
    assert summary["metadata"] == {"cache_creation.ephemeral_5m": 8}
    assert summary["input_tokens"] == 20
    metadata = body["threads"][0]["token_usage"]["metadata"]
    assert metadata == {"cache_creation.ephemeral_5m": 4}


def test_threads_are_paged_forwards_and_back_to_the_nearest(as_auditor, seven_threads):
    first = as_auditor.get("sessions/long/", limit=2)
    assert threads_of(first) == seven_threads[:2]
    assert first.json()["previous"] is None
    second = as_auditor.get(first.json()["next"])
    assert threads_of(second) == seven_threads[2:4]
    last = as_auditor.get("sessions/long/", limit=2, after_id=seven_threads[5])
    assert threads_of(last) == seven_threads[6:]
    assert last.json()["next"] is None
    back = as_auditor.get(last.json()["previous"])
    assert threads_of(back) == seven_threads[4:6]
    assert threads_of(as_auditor.get(back.json()["next"])) == seven_threads[6:]


@pytest.mark.parametrize("name", ["after_id", "before_id"])
def test_cursor_that_is_no_thread_of_the_session_is_refused(
    as_auditor, member, seven_threads, name
):
    elsewhere = str(happen(member, session="other").pk)
    answer = as_auditor.get("sessions/long/", **{name: elsewhere})
    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["validations"]] == [name]


def test_both_cursors_at_once_are_refused(as_auditor, seven_threads):
    answer = as_auditor.get(
        "sessions/long/", after_id=seven_threads[0], before_id=seven_threads[3]
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("limit", ["0", "201", "x"])
def test_limit_of_threads_is_checked(as_auditor, seven_threads, limit):
    assert as_auditor.get("sessions/long/", limit=limit).status_code == 400


@pytest.mark.parametrize("name", ["nothing", str(uuid.UUID(int=7)), "a%00b", "%C3%28"])
def test_unknown_session_is_404(as_auditor, name):
    assert as_auditor.get(f"sessions/{name}/").status_code == 404


def test_thread_whose_root_is_gone_is_told_by_what_is_left(as_auditor, member):
    root = happen(member, session="s-1", turns=[turn_of("call_1")])
    happen(member, session="s-1", answers="call_1")
    root.delete()
    (thread,) = as_auditor.get("sessions/s-1/").json()["threads"]
    assert thread["id"] == str(root.thread_id)
    assert thread["root_is_here"] is False
    assert thread["interceptions"] == 1


def test_thread_in_progress_has_no_end(as_auditor, member):
    row = happen(member, session="s-1")
    type(row).objects.filter(pk=row.pk).update(ended_at=None)
    body = as_auditor.get("sessions/s-1/").json()
    assert body["threads"][0]["ended_at"] is None
    assert body["threads"][0]["outcome"] == "in_progress"
    assert body["page_ended_at"] is None


def test_last_active_session_is_meant_when_several_users_share_an_id(
    as_auditor, member, admin
):
    happen(member, session="shared")
    happen(admin, session="shared")
    assert as_auditor.get("sessions/shared/").json()["initiator"]["username"] == "ada"
    chosen = as_auditor.get("sessions/shared/", initiator="mia").json()
    assert chosen["initiator"]["username"] == "mia"
    assert chosen["interceptions"] == 1
    assert as_auditor.get("sessions/shared/", initiator="nobody").status_code == 404


def test_last_activity_orders_the_list(as_auditor, member):
    happen(member, session="old")
    happen(member, session="new")
    Session.objects.filter(session_id="old").update(
        last_active_at=Session.objects.latest("id").last_active_at + timedelta(days=1)
    )
    assert names(as_auditor.get("sessions/")) == ["old", "new"]

"""Listing and reading interceptions over REST."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from interceptions.models import Interception
from providers.api import paging
from proxy.actors import actors
from tests.interceptions.happenings import happen, turn_of
from tests.interceptions.rows import attempt_facts, make_interception, make_provider

ANA_FACTS = {"model": "gpt-5.2", "client": "Codex", "provider_kind": "openai"}


def ids(answer):
    assert answer.status_code == 200, answer.json()
    return [row["id"] for row in answer.json()["results"]]


@pytest.fixture
def three(member, admin):
    """Three interceptions that differ in everything; the newest last."""
    provider = make_provider("openai-main", "openai")
    first = happen(member, session="s-1")
    second = happen(
        admin,
        session="s-2",
        provider_id=provider.pk,
        provider_name="openai-main",
        prompt="why is the dashboard slow?",
        error=("rate_limited", "slow down"),
        **ANA_FACTS,
    )
    third = happen(member, session="s-3", credential_kind="byok")
    return [str(row.pk) for row in (first, second, third)]


def test_list_has_the_newest_first_with_everything_recorded(as_auditor, member):
    happen(
        member,
        turns=[turn_of("call_1", thought="hm", extra={"reasoning": 7})],
        attempts=[
            attempt_facts(status=429, outcome="rate_limited", cooldown=12.0),
            attempt_facts(key_hint="sk-b...1111"),
        ],
        hint="sk-b...1111",
    )
    answer = as_auditor.get("interceptions/").json()
    assert (answer["count"], answer["count_is_capped"]) == (1, False)
    assert answer["next"] is None
    assert answer["previous"] is None
    (row,) = answer["results"]
    assert row["initiator"]["username"] == member.username
    assert row["outcome"] == "completed"
    assert row["error_type"] is None
    assert row["credential_hint"] == "sk-b...1111"
    assert row["session_id"] == "s-1"
    assert row["thread_id"] == row["id"]
    assert row["duration_ms"] >= 0
    assert row["prompts"][0]["prompt"] == "fix the test"
    assert row["token_usages"][0]["extra"] == {"reasoning": 7}
    assert row["token_usage"]["output_tokens"] == 20
    assert row["tool_usages"][0]["tool"] == "Bash"
    assert row["thoughts"][0]["content"] == "hm"
    assert [each["outcome"] for each in row["attempts"]] == ["rate_limited", "accepted"]


def test_detail_is_what_the_list_says(as_auditor, three):
    (row, *_) = as_auditor.get("interceptions/").json()["results"]
    assert as_auditor.get(f"interceptions/{row['id']}/").json() == row
    assert as_auditor.get(f"interceptions/{row['id']}").json() == row


def test_unknown_interception_is_404(as_auditor):
    answer = as_auditor.get(f"interceptions/{uuid.uuid4()}/")
    assert answer.status_code == 404
    assert answer.json() == {"message": "Not found."}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"initiator": "mia"}, [2, 0]),
        ({"initiator": "me"}, []),
        ({"provider": "openai-main"}, [1]),
        ({"provider_id": "openai-main"}, [1]),
        ({"provider_id": "none"}, [2, 0]),
        ({"kind": "openai"}, [1]),
        ({"model": "gpt-5.2"}, [1]),
        ({"client": "Claude Code"}, [2, 0]),
        ({"session_id": "s-3"}, [2]),
        ({"outcome": "failed"}, [1]),
        ({"outcome": "completed"}, [2, 0]),
        ({"error_type": "rate_limited"}, [1]),
        ({"error_type": "timeout"}, []),
        ({"credential_kind": "byok"}, [2]),
        ({"prompt": "Dashboard, SLOW"}, [1]),
        ({"prompt": "dash"}, []),
        ({"q": "mia"}, [2, 0]),
        ({"q": "initiator:mia credential_kind:byok"}, [2]),
        ({"q": 'client:"Claude Code"'}, [2, 0]),
        ({"q": 'prompt:"the test"'}, [2, 0]),
        ({"q": "client:Codex", "outcome": "failed"}, [1]),
    ],
)
def test_filter_finds(as_auditor, three, query, expected):
    assert ids(as_auditor.get("interceptions/", **query)) == [
        three[i] for i in expected
    ]


def test_provider_is_found_by_its_id(as_auditor, three):
    provider = Interception.objects.get(pk=three[1]).provider_id
    assert ids(as_auditor.get("interceptions/", provider_id=provider)) == [three[1]]


def test_thread_is_found_by_its_roots_id(as_auditor, member):
    root = happen(member, turns=[turn_of("call_1")])
    follower = happen(member, answers="call_1")
    happen(member)
    found = ids(as_auditor.get("interceptions/", thread_id=root.pk))
    assert found == [str(follower.pk), str(root.pk)]


def test_both_bounds_of_a_time_range_are_included(as_auditor, member):
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    rows = [
        make_interception(member, started_at=moment + timedelta(minutes=minute))
        for minute in (0, 5, 10)
    ]
    found = ids(
        as_auditor.get(
            "interceptions/",
            started_after="2026-03-01T12:00:00Z",
            started_before="2026-03-01T14:05:00.000000999+02:00",
        )
    )
    assert found == [str(rows[1].pk), str(rows[0].pk)]


def test_time_range_is_given_in_quotes_in_q(as_auditor, member):
    row = happen(member)
    ago = (row.started_at - timedelta(minutes=1)).isoformat()
    assert ids(as_auditor.get("interceptions/", q=f'started_after:"{ago}"'))
    assert not ids(as_auditor.get("interceptions/", q=f'started_before:"{ago}"'))


def test_pages_lead_to_every_row_once_in_both_directions(as_auditor, member):
    expected = [str(happen(member).pk) for _ in range(7)][::-1]
    answer = as_auditor.get("interceptions/", limit=3)
    seen, urls = ids(answer), []
    while (url := answer.json()["next"]) is not None:
        urls.append(url)
        answer = as_auditor.get(url)
        seen += ids(answer)
    assert seen == expected
    assert len(urls) == 2
    answer = as_auditor.get(answer.json()["previous"])
    assert ids(answer) == expected[3:6]
    answer = as_auditor.get(answer.json()["previous"])
    assert ids(answer) == expected[0:3]
    assert answer.json()["previous"] is None


def test_pages_are_stable_while_rows_come_and_go(as_auditor, member):
    rows = [str(happen(member).pk) for _ in range(4)][::-1]
    first = as_auditor.get("interceptions/", limit=2)
    happen(member)
    Interception.objects.filter(pk=rows[1]).delete()
    assert ids(as_auditor.get(first.json()["next"])) == rows[2:]


def test_next_page_keeps_the_filters(as_auditor, member, admin):
    expected = [str(happen(member).pk) for _ in range(3)][::-1]
    happen(admin)
    first = as_auditor.get("interceptions/", limit=2, q="mia")
    assert ids(first) + ids(as_auditor.get(first.json()["next"])) == expected


def test_after_id_and_before_id_together_bound_a_stretch(as_auditor, member):
    rows = [str(happen(member).pk) for _ in range(4)][::-1]
    found = as_auditor.get("interceptions/", after_id=rows[0], before_id=rows[3])
    assert ids(found) == rows[1:3]


def test_count_ends_at_its_cap_and_says_so(as_auditor, member, monkeypatch):
    monkeypatch.setattr(paging, "COUNT_CAP", 2)
    for _ in range(3):
        happen(member)
    answer = as_auditor.get("interceptions/", limit=1).json()
    assert (answer["count"], answer["count_is_capped"]) == (2, True)


@pytest.mark.parametrize(
    ("query", "field", "detail"),
    [
        ({"limit": "0"}, "limit", "whole number from 1 to 1000"),
        ({"limit": "1001"}, "limit", "whole number from 1 to 1000"),
        ({"limit": "-1"}, "limit", "whole number"),
        ({"limit": "9" * 400}, "limit", "whole number"),
        ({"limit": "٣"}, "limit", "whole number"),
        ({"limit": "ten"}, "limit", "whole number"),
        ({"after_id": "x"}, "after_id", "UUID"),
        ({"before_id": "x"}, "before_id", "UUID"),
        ({"offset": "3"}, "offset", "not a valid query parameter"),
        ({"initiator": "nobody"}, "initiator", "not found"),
        ({"initiator": "9" * 50}, "initiator", "not found"),
        ({"provider_id": "nothing"}, "provider_id", "not found"),
        ({"provider_id": str(uuid.uuid4())}, "provider_id", "not found"),
        ({"kind": "abacus"}, "kind", "Select a valid choice"),
        ({"outcome": "sad"}, "outcome", "Select a valid choice"),
        ({"error_type": "sad"}, "error_type", "Select a valid choice"),
        ({"credential_kind": "sad"}, "credential_kind", "Select a valid choice"),
        ({"thread_id": "x"}, "thread_id", "UUID"),
        ({"started_after": "yesterday"}, "started_after", "timestamp"),
        ({"started_before": "2026-13-01T00:00:00Z"}, "started_before", "timestamp"),
        ({"model": "a\0b"}, "model", "Null characters"),
        ({"initiator": "a\0b"}, "initiator", "Null characters"),
        ({"prompt": "a\0b"}, "prompt", "Null characters"),
        ({"q": "model:a\0b"}, "model", "Null characters"),
        ({"prompt": "?!"}, "prompt", "at least one letter"),
        ({"model": ""}, "model", "must not be empty"),
        ({"model": ["a", "b"]}, "model", "more than once"),
        ({"model": "x" * 201}, "model", "at most 200"),
        ({"q": "a:b:c"}, "q", "can only contain 1"),
        ({"q": "colour:red"}, "colour", "not a valid search key"),
        ({"q": "model:a", "model": "b"}, "model", "both in q and as a parameter"),
    ],
)
def test_value_that_cannot_be_used_is_named(as_auditor, query, field, detail):
    answer = as_auditor.get("interceptions/", **query)
    assert answer.status_code == 400
    body = answer.json()
    assert body["message"] == "Query parameters have invalid values."
    (problem,) = [each for each in body["validations"] if each["field"] == field]
    assert detail in problem["detail"]


def test_every_unknown_key_is_named(as_auditor):
    answer = as_auditor.get("interceptions/", colour="red", shape="round")
    assert {each["field"] for each in answer.json()["validations"]} == {
        "colour",
        "shape",
    }
    answer = as_auditor.get("interceptions/", q="colour:red shape:round")
    assert {each["field"] for each in answer.json()["validations"]} == {
        "colour",
        "shape",
    }


def test_range_that_ends_before_it_starts_is_refused(as_auditor):
    answer = as_auditor.get(
        "interceptions/",
        started_after="2026-01-02T00:00:00Z",
        started_before="2026-01-01T00:00:00Z",
    )
    assert answer.status_code == 400
    (problem,) = answer.json()["validations"]
    assert problem == {
        "field": "started_before",
        "detail": "must be later than started_after",
    }


@pytest.mark.parametrize("rows", [1, 20])
def test_list_takes_the_same_queries_however_long(
    as_auditor, member, django_assert_num_queries, rows
):
    for number in range(rows):
        happen(member, turns=[turn_of(f"call_{number}", thought="hm")])
    as_auditor.get("interceptions/")
    # Keys, page, five kinds of parts; the token's owner and permissions are four.
    actors.forget()
    with django_assert_num_queries(11):
        as_auditor.get("interceptions/")


def test_nothing_can_be_written_or_deleted(as_admin, member):
    row = happen(member)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("interceptions/", f"interceptions/{row.pk}/"):
            assert as_admin.send(method, path, {}).status_code == 405
    assert Interception.objects.filter(pk=row.pk).exists()

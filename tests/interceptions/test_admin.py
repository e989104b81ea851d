"""The pages of interceptions: what they show, to whom, and at what cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from interceptions.choices import ErrorType
from interceptions.detail import story
from interceptions.listing import CAP
from interceptions.models import Attempt, Facet, Interception, Worker
from providers.ids import new_id
from providers.models import AiProvider
from tests.interceptions.happenings import happen, turn_of
from tests.interceptions.rows import attempt_facts, make_interception, make_provider

LIST = "interceptions/interception/"

pytestmark = pytest.mark.django_db


def page_of(row: Interception) -> str:
    return f"interceptions/interception/{row.pk}/change/"


# The list
def test_list_shows_the_last_day_unless_asked_for_more(auditor_pages, auditor):
    old = datetime.now(UTC) - timedelta(days=2)
    make_interception(auditor, model="fresh-model")
    make_interception(auditor, model="stale-model", started_at=old)
    assert "stale-model" not in auditor_pages.get(LIST).text
    assert "stale-model" in auditor_pages.get(LIST, since="all").text


def test_list_of_one_session_is_not_cut_to_a_day(auditor_pages, auditor):
    old = datetime.now(UTC) - timedelta(days=2)
    make_interception(auditor, model="old-model", session_id="s-9", started_at=old)
    assert "old-model" in auditor_pages.get(LIST, session_id="s-9").text


def test_list_shows_every_column(auditor_pages, member):
    happen(member, prompt="why is it slow", client="Codex", provider_name="main-openai")
    text = auditor_pages.get(LIST).text
    for shown in ("why is it slow", "Codex", "main-openai", "mia", "Completed", "10"):
        assert shown in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"outcome": "failed"}, {"failing"}),
        ({"error_type": "rate_limited"}, {"failing"}),
        ({"credential_kind": "byok"}, {"own-key"}),
        ({"client": "Zed"}, {"own-key"}),
        ({"model": "plain"}, {"plain"}),
        ({"initiator": "olga"}, {"plain"}),
        ({"initiator": "mia"}, {"failing", "own-key"}),
        ({"prompt": "unicorn"}, {"plain"}),
        ({"started_before": "2020-01-01T00:00:00Z"}, set()),
        ({"q": "model:plain"}, {"plain"}),
    ],
)
def test_list_filters(auditor_pages, auditor, member, query, found):
    happen(auditor, session="a", model="plain", prompt="draw a unicorn")
    happen(member, session="b", model="failing", error=("rate_limited", "slow down"))
    happen(member, session="c", model="own-key", client="Zed", credential_kind="byok")
    rows = auditor_pages.get(LIST, **query).answer.context["list"].rows
    assert {row.model for row in rows} == found


def test_list_finds_interceptions_of_a_deleted_provider(auditor_pages, auditor):
    gone = make_provider("gone", deleted_at=datetime.now(UTC), enabled=False)
    happen(auditor, model="of-the-gone", provider_id=gone.pk, provider_name="gone")
    happen(auditor, session="other", model="of-another")
    page = auditor_pages.get(LIST, provider_id=gone.pk)
    assert "of-the-gone" in page.text
    assert "of-another" not in page.text
    assert "gone (deleted)" in page.text


def test_impossible_filter_is_told_and_shows_nothing(auditor_pages, auditor):
    make_interception(auditor, model="some-model")
    page = auditor_pages.get(LIST, initiator="nobody-here")
    assert (page.status, 'user "nobody-here" not found' in page.text) == (200, True)
    assert "some-model" not in page.text


def test_pages_lead_to_older_rows_and_back(auditor_pages, auditor):
    for number in range(120):
        make_interception(auditor, model=f"m-{number:03}")
    first = auditor_pages.get(LIST)
    older = next(link for link in first.links if "older=" in link)
    second = auditor_pages.get(older)
    newer = next(link for link in second.links if "newer=" in link)

    def models(page):
        return [row.model for row in page.answer.context["list"].rows]

    assert models(first) == [f"m-{n:03}" for n in range(119, 69, -1)]
    assert models(second) == [f"m-{n:03}" for n in range(69, 19, -1)]
    assert models(auditor_pages.get(newer)) == models(first)


def test_nonsense_in_the_place_of_a_page_shows_the_first_one(auditor_pages, auditor):
    make_interception(auditor, model="some-model")
    assert "some-model" in auditor_pages.get(LIST, older="no-id").text


def test_count_ends_at_a_cap(auditor_pages, auditor):
    first = make_interception(auditor)
    ids = [new_id() for _ in range(CAP)]
    Interception.objects.bulk_create(
        Interception(
            id=id,
            initiator=auditor,
            provider_kind="anthropic",
            dialect="anthropic_messages",
            session_id=str(id),
            thread_id=id,
            started_at=first.started_at,
        )
        for id in ids
    )
    text = auditor_pages.get(LIST).text
    # A busy database may not even count so far within the time there is.
    assert "10,000+" in text or "More than 50" in text


def test_list_costs_the_same_for_one_row_and_for_fifty(auditor_pages, auditor):
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            auditor_pages.get(LIST)
        return len(asked)

    happen(auditor, session="s-0")
    # The first page also reads what is kept from then on, such as the content types.
    auditor_pages.get(LIST)
    for_one = queries()
    for number in range(1, 50):
        happen(auditor, session=f"s-{number}")
    assert queries() == for_one <= 15


def test_exports_are_linked_with_the_same_filters(auditor_pages, auditor):
    happen(auditor, model="wanted")
    happen(auditor, session="other", model="unwanted")
    page = auditor_pages.get(LIST, model="wanted")
    link = next(link for link in page.links if ".csv?" in link)
    answer = auditor_pages.client.get(link)
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert answer.status_code == 200
    assert ["wanted" in line for line in lines[1:]] == [True]


def test_filter_fields_suggest_what_was_seen(auditor_pages, member):
    Facet.objects.create(kind="model", value="gpt-5.2")
    Facet.objects.create(kind="model", value="claude-haiku-4-5")

    def suggested(name, typed):
        answer = auditor_pages.client.get(f"/admin/{LIST}options/{name}/?q={typed}")
        return answer.json()["results"]

    assert suggested("model", "GPT") == ["gpt-5.2"]
    assert suggested("initiator", "mi") == ["mia"]


def test_empty_list_tells_how_to_begin(auditor_pages):
    assert "Connect a client" in auditor_pages.get(LIST, since="all").text
    assert "Search all time" in auditor_pages.get(LIST).text


# One interception
def test_page_tells_the_attempts_as_a_story(auditor_pages, auditor):
    tries = [
        attempt_facts(
            key_hint="k...9x", status=429, outcome="rate_limited", cooldown=30
        ),
        attempt_facts(key_hint="k...2a", headers_ms=412),
    ]
    row = happen(auditor, attempts=tries)
    told = "k...9x: 429, rests 30 s → k...2a: 200 in 412 ms"
    assert told in auditor_pages.get(page_of(row)).text


def test_story_of_keys_that_failed_for_good():
    said = story(
        [
            Attempt(key_hint="k...1", status=401, outcome="unauthorized"),
            Attempt(key_hint="k...2", outcome="unreachable"),
            Attempt(key_hint="", outcome="timeout", cooldown=600),
        ]
    )
    assert (
        said
        == "k...1: 401, retired → k...2: unreachable → no key: timeout, rests 10 min"
    )


def test_page_shows_prompt_thoughts_tools_tokens_and_error(auditor_pages, auditor):
    turns = [turn_of("t-1", thought="I should look first", tokens=(1111, 22, 333, 4))]
    row = happen(auditor, prompt="find the bug", turns=turns)
    text = auditor_pages.get(page_of(row)).text
    for shown in ("find the bug", "I should look first", "Bash", '"command": "ls"'):
        assert shown in text
    assert "1,111" in text
    failed = happen(auditor, session="f", error=("overloaded", "try later, please"))
    assert "try later, please" in auditor_pages.get(page_of(failed)).text


def test_page_leads_to_session_thread_and_list(auditor_pages, auditor):
    row = happen(auditor)
    page = auditor_pages.get(page_of(row))
    statuses = {link: auditor_pages.get(link).status for link in set(page.links)}
    assert {link: s for link, s in statuses.items() if s not in (200, 302)} == {}
    assert any(f"thread_id={row.thread_id}" in link for link in page.links)


def test_long_text_is_cut_and_its_whole_is_plain_text(auditor_pages, auditor):
    prompt = "<script>alert(1)</script>" + "x" * 50_000 + "THE END"
    row = happen(auditor, prompt=prompt)
    page = auditor_pages.get(page_of(row))
    assert "THE END" not in page.html
    assert "<script>alert" not in page.html
    link = next(link for link in page.links if "/text/prompt/" in link)
    answer = auditor_pages.client.get(link)
    assert answer.content.decode() == prompt
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_text_of_another_interception_cannot_be_had(auditor_pages, auditor):
    one, other = happen(auditor), happen(auditor, session="other")
    text = other.prompts.get()
    path = f"{LIST}{one.pk}/text/prompt/{text.pk}/"
    assert auditor_pages.get(path).status == 404


def test_page_costs_a_fixed_number_of_queries(
    auditor_pages, auditor, django_assert_max_num_queries
):
    row = happen(auditor, turns=[turn_of(*[f"t-{n}" for n in range(30)])] * 5)
    with django_assert_max_num_queries(16):
        auditor_pages.get(page_of(row))


# Who may
@pytest.mark.parametrize("what", ["add/", "{pk}/delete/", "{pk}/history/"])
def test_nobody_adds_deletes_or_finds_a_history(admin_pages, admin, what):
    row = happen(admin)
    path = LIST + what.format(pk=row.pk)
    assert admin_pages.get(path).status in (403, 404)
    assert admin_pages.post(path).status in (403, 404)


def test_a_posted_form_changes_nothing(admin_pages, admin):
    row = happen(admin)
    admin_pages.post(page_of(row), model="forged")
    assert Interception.objects.get(pk=row.pk).model == row.model


def test_member_sees_no_interception_and_no_menu_entry(member_pages, member):
    row = happen(member)
    assert member_pages.get(page_of(row)).status == 404
    assert member_pages.get(LIST).status == 403
    assert "Interceptions" not in member_pages.get("proxy/gatewaytoken/connect/").text


def test_member_reads_own_rows_only_where_that_is_allowed(
    member_pages, member, auditor, settings
):
    settings.AIBRIDGE_MEMBERS_READ_OWN = True
    mine, theirs = happen(member, model="mine"), happen(auditor, model="theirs")
    page = member_pages.get(LIST)
    assert ("mine" in page.text, "theirs" in page.text) == (True, False)
    assert member_pages.get(page_of(mine)).status == 200
    assert member_pages.get(page_of(theirs)).status == 404
    assert "olga" not in page.text
    assert member_pages.get(LIST + "options/initiator/").status == 404


def test_auditor_sees_no_link_to_provider_or_key(auditor_pages, auditor):
    provider = AiProvider.objects.create(name="main", kind="anthropic")
    row = happen(auditor, provider_id=provider.pk, provider_name="main")
    html = auditor_pages.get(page_of(row)).html
    assert "/admin/providers/" not in html
    assert "main" in html


def test_workers_are_shown_to_administrators(admin_pages, auditor_pages):
    now = datetime.now(UTC)
    Worker.objects.create(
        node="gw-7", pid=99, started_at=now, beat_at=now, journal_records=3
    )
    page = admin_pages.get("interceptions/worker/")
    assert "gw-7" in page.text
    assert '<th class="field-node' in page.html
    assert "Select record" not in page.html
    assert auditor_pages.get("interceptions/worker/").status == 403


def test_every_error_type_can_be_filtered_by(auditor_pages):
    for error_type in ErrorType:
        assert auditor_pages.get(LIST, error_type=error_type.value).status == 200

"""The recorder: what of one interception ends up in which row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from interceptions import recorder
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
from providers import registry
from providers.ids import new_id
from proxy.dialects.base import Thought, ToolCall, Turn, Usage
from tests.interceptions.rows import (
    attempt_facts,
    make_provider,
    make_user,
    start_facts,
)

REPLACED = "\N{REPLACEMENT CHARACTER}"


@pytest.fixture
def ana(db):
    return make_user("ana")


@pytest.fixture
def ben(db):
    return make_user("ben")


def row_of(recording: recorder.Recording) -> Interception:
    return Interception.objects.get(pk=recording.id)


def ask(user, *, calls=(), answers=None, session=None) -> Interception:
    """Record a whole interception that calls tools, or brings the result of one."""
    recording = recorder.start(
        start_facts(user, correlating_tool_call_id=answers, client_session_id=session)
    )
    tools = [ToolCall(call, "Bash") for call in calls]
    recording.turn(Turn("msg", usage=Usage(1, 1), tool_calls=tools))
    recording.end(status_code=200)
    return row_of(recording)


# What a start stores


def test_a_start_is_stored_with_all_its_facts(ana):
    provider = make_provider("claude")
    before = datetime.now(UTC)
    recording = recorder.start(
        start_facts(ana, provider_id=provider.pk, metadata={"a": [1, None]})
    )
    row = row_of(recording)
    assert row.outcome == "in_progress"
    assert (row.initiator, row.provider) == (ana, provider)
    assert (row.provider_name, row.provider_kind) == ("claude", "anthropic")
    assert (row.dialect, row.route) == ("anthropic_messages", "v1/messages")
    assert (row.model, row.streaming) == ("claude-sonnet-4-5", True)
    assert (row.client, row.user_agent) == ("Claude Code", "claude-cli/2.1")
    assert row.metadata == {"a": [1, None]}
    assert before <= row.started_at <= datetime.now(UTC)
    assert row.is_thread_root
    assert row.session_id == str(row.pk)


def test_a_prompt_is_stored_with_the_start(ana):
    recording = recorder.start(start_facts(ana, prompt="fix the test\n"))
    assert [p.prompt for p in row_of(recording).prompts.all()] == ["fix the test\n"]


def test_an_empty_prompt_is_a_prompt_and_none_is_none(ana):
    asked = recorder.start(start_facts(ana, prompt=""))
    continued = recorder.start(start_facts(ana, prompt=None))
    assert row_of(asked).prompts.count() == 1
    assert row_of(continued).prompts.count() == 0


def test_texts_are_cut_to_what_their_columns_hold(ana):
    recording = recorder.start(
        start_facts(
            ana,
            model="m" * 999,
            user_agent="€" * 999,
            route="r" * 999,
            client_session_id="s" * 999,
        )
    )
    row = row_of(recording)
    assert (row.model, row.user_agent) == ("m" * 200, "€" * 512)
    assert (row.route, row.session_id) == ("r" * 100, "s" * 256)


@pytest.mark.parametrize("bad", ["\0", "\ud83d", "a\0b\ud800"])
def test_text_that_no_database_takes_is_made_storable(ana, bad):
    recording = recorder.start(
        start_facts(
            ana,
            model=f"m{bad}",
            prompt=f"p{bad}",
            client_session_id=f"s{bad}",
            user_agent=bad,
            metadata={f"k{bad}": [f"v{bad}", {"n": bad}]},
        )
    )
    recording.attempt(**attempt_facts(upstream_request_id=bad, detail=bad))
    call = ToolCall(f"t{bad}", f"Bash{bad}", f'{{"a": "{bad}"}}')
    thoughts = [Thought("thinking", f"hm{bad}")]
    usage = Usage(1, extra={f"x{bad}": 1}, metadata={"tier": bad})
    recording.turn(Turn(f"id{bad}", "", usage, [call], thoughts, f"end{bad}"))
    recording.end(status_code=500, error=("server_error", f"oh{bad}"))
    row = row_of(recording)
    assert row.outcome == "failed"
    texts = [row.model, row.session_id, row.error_message, row.response_id]
    texts += [row.prompts.get().prompt, row.thoughts.get().content]
    texts += [row.tool_usages.get().tool, row.attempts.get().detail]
    assert all(REPLACED in text or "?" in text for text in texts)
    assert not any("\0" in text for text in texts)


def test_a_session_is_named_by_the_client_else_by_the_thread_else_by_itself(ana):
    named = ask(ana, session="abc")
    alone = ask(ana, calls=["t1"])
    follower = ask(ana, answers="t1")
    assert named.session_id == "abc"
    assert alone.session_id == str(alone.pk)
    assert follower.session_id == str(alone.pk)


def test_an_empty_client_session_is_none(ana):
    row = ask(ana, session="")
    assert row.client_session_id is None
    assert row.session_id == str(row.pk)


# Lineage


def test_the_result_of_a_tool_belongs_to_the_thread_that_called_it(ana):
    root = ask(ana, calls=["t1", "t2"])
    second = ask(ana, answers="t2", calls=["t3"])
    third = ask(ana, answers="t3")
    assert (second.thread_parent, second.thread_id) == (root, root.pk)
    assert (third.thread_parent, third.thread_id) == (second, root.pk)


def test_a_tool_call_of_somebody_else_is_no_parent(ana, ben):
    ask(ana, calls=["t1"])
    row = ask(ben, answers="t1")
    assert row.is_thread_root
    assert row.thread_parent is None


def test_of_two_calls_with_one_id_the_newest_is_the_parent(ana):
    ask(ana, calls=["call_1"])
    newer = ask(ana, calls=["call_1"])
    assert ask(ana, answers="call_1").thread_parent == newer


def test_a_tool_call_nobody_made_makes_a_root(ana):
    row = ask(ana, answers="unknown")
    assert row.is_thread_root
    assert row.correlating_tool_call_id == "unknown"


def test_an_empty_tool_call_id_matches_nothing(ana):
    ask(ana, calls=[""])
    assert ask(ana, answers="").is_thread_root


# Attempts


def test_a_failed_attempt_is_stored_before_the_end(ana):
    recording = recorder.start(start_facts(ana))
    recording.attempt(
        **attempt_facts(
            status=429, outcome="rate_limited", retry_after=7.5, cooldown=7.5
        )
    )
    attempt = row_of(recording).attempts.get()
    assert (attempt.status, attempt.outcome) == (429, "rate_limited")
    assert (attempt.retry_after, attempt.cooldown) == (7.5, 7.5)


def test_attempts_keep_their_order(ana):
    recording = recorder.start(start_facts(ana))
    recording.attempt(**attempt_facts(key_hint="a", outcome="unauthorized"))
    recording.attempt(**attempt_facts(key_hint="b", outcome="rate_limited"))
    recording.attempt(**attempt_facts(key_hint="c", outcome="accepted", headers_ms=9))
    recording.end(status_code=200)
    attempts = list(row_of(recording).attempts.all())
    assert [a.key_hint for a in attempts] == ["a", "b", "c"]
    assert [a.position for a in attempts] == [0, 1, 2]
    assert attempts[2].headers_ms == 9


# Turns


def turn(**facts) -> Turn:
    return Turn(response_id="msg_1", **facts)


def test_an_answer_is_stored_with_its_tokens_tools_and_thoughts(ana):
    recording = recorder.start(start_facts(ana))
    recording.first_byte()
    recording.turn(
        turn(
            usage=Usage(1, 2, 3, 4, {"web_search_requests": 5}, {"tier": "standard"}),
            tool_calls=[
                ToolCall("t1", "Bash", '{"command": "ls"}'),
                ToolCall("t2", "search", "", "server", "item_2"),
            ],
            thoughts=[Thought("thinking", "hm"), Thought("commentary", "so")],
            stop_reason="tool_use",
        )
    )
    recording.end(status_code=200)
    row = row_of(recording)
    usage = row.token_usages.get()
    assert (usage.input_tokens, usage.output_tokens) == (1, 2)
    assert (usage.cache_read_input_tokens, usage.cache_write_input_tokens) == (3, 4)
    assert usage.extra == {"web_search_requests": 5}
    assert usage.metadata == {"tier": "standard"}
    assert usage.provider_response_id == "msg_1"
    bash, search = row.tool_usages.all()
    assert (bash.tool, bash.kind) == ("Bash", "function")
    assert bash.input == '{"command": "ls"}'
    assert (search.kind, search.item_id, search.injected) == ("server", "item_2", False)
    assert [t.content for t in row.thoughts.all()] == ["hm", "so"]
    assert [t.source for t in row.thoughts.all()] == ["thinking", "commentary"]
    assert (row.response_id, row.stop_reason) == ("msg_1", "tool_use")
    assert (row.turns, row.tool_calls) == (1, 2)
    assert row.started_at <= row.first_byte_at <= row.ended_at


def test_sums_cover_all_turns_and_the_first_id_and_last_reason_stay(ana):
    recording = recorder.start(start_facts(ana))
    recording.turn(Turn("msg_1", usage=Usage(1, 2, 3, 4), stop_reason="tool_use"))
    recording.turn(Turn("msg_2", usage=Usage(10, 20, 30, 40), stop_reason="end_turn"))
    recording.end(status_code=200)
    row = row_of(recording)
    assert (row.input_tokens, row.output_tokens) == (11, 22)
    assert (row.cache_read_input_tokens, row.cache_write_input_tokens) == (33, 44)
    assert (row.response_id, row.stop_reason, row.turns) == ("msg_1", "end_turn", 2)
    assert [usage.turn for usage in row.token_usages.all()] == [0, 1]


def test_an_answer_that_never_came_is_no_turn(ana):
    recording = recorder.start(start_facts(ana))
    recording.turn(Turn())
    recording.end(status_code=502, error=("server_error", "gone"))
    assert row_of(recording).turns == 0


def test_an_answer_without_usage_makes_no_usage_row(ana):
    recording = recorder.start(start_facts(ana))
    recording.turn(turn(stop_reason="end_turn"))
    recording.end(status_code=200)
    assert row_of(recording).token_usages.count() == 0
    assert row_of(recording).turns == 1


@pytest.mark.parametrize("count", [-1, 10**12 + 1, 2**70, 1.5, True, None, "7"])
def test_a_count_of_tokens_that_cannot_be_is_not_stored(ana, count):
    recording = recorder.start(start_facts(ana))
    recording.turn(turn(usage=Usage(1, count)))
    recording.end(status_code=200)
    assert row_of(recording).token_usages.count() == 0
    assert row_of(recording).outcome == "completed"


def test_extra_counts_beyond_64_bits_are_stored(ana):
    recording = recorder.start(start_facts(ana))
    recording.turn(turn(usage=Usage(1, extra={"odd": 2**70})))
    recording.end(status_code=200)
    assert row_of(recording).token_usages.get().extra["odd"] == 2**70


def injected(**changes):
    return {
        "turn": 0,
        "tool_call_id": "t1",
        "item_id": "",
        "tool": "search",
        "input": '{"q": "x"}',
        "server_name": "docs",
        "server_url": "https://mcp.example.com",
        "invocation_error": "",
        "duration_ms": 12,
    } | changes


def test_a_tool_the_gateway_ran_takes_the_place_of_the_models_call(ana):
    recording = recorder.start(start_facts(ana))
    recording.turn(
        turn(tool_calls=[ToolCall("t1", "bmcp_docs_search"), ToolCall("t2", "Bash")])
    )
    recording.injected_tool(**injected(invocation_error="refused"))
    recording.end(status_code=200)
    row = row_of(recording)
    search, bash = row.tool_usages.order_by("tool_call_id")
    assert (search.tool, search.server_name) == ("search", "docs")
    assert search.injected
    assert (search.invocation_error, search.duration_ms) == ("refused", 12)
    assert search.provider_response_id == "msg_1"
    assert not bash.injected
    assert row.tool_calls == 2


def test_a_tool_the_gateway_ran_unasked_is_stored_too(ana):
    recording = recorder.start(start_facts(ana))
    recording.injected_tool(**injected())
    recording.end(status_code=200)
    assert row_of(recording).tool_usages.get().injected
    assert row_of(recording).tool_calls == 1


def test_a_finished_turn_is_stored_when_the_next_begins(ana):
    recording = recorder.start(start_facts(ana))
    recording.attempt(**attempt_facts())
    recording.turn(turn(usage=Usage(1, 2), tool_calls=[ToolCall("t1", "x")]))
    recording.injected_tool(**injected())
    assert row_of(recording).token_usages.count() == 0
    recording.attempt(**attempt_facts(turn=1))
    row = row_of(recording)
    assert row.token_usages.count() == row.tool_usages.count() == 1
    assert row.outcome == "in_progress"
    recording.end(status_code=200)
    assert row_of(recording).attempts.count() == 2
    assert row_of(recording).input_tokens == 1


# Ends


def ended(ana, **facts) -> Interception:
    recording = recorder.start(start_facts(ana))
    recording.end(**{"status_code": 200} | facts)
    return row_of(recording)


def test_an_end_without_error_completes(ana):
    row = ended(ana)
    assert (row.outcome, row.status_code) == ("completed", 200)
    assert row.error_type is row.error_message is None


def test_an_end_with_an_error_fails(ana):
    row = ended(ana, status_code=429, error=("rate_limited", "slow down"))
    assert (row.outcome, row.error_type) == ("failed", "rate_limited")
    assert (row.error_message, row.status_code) == ("slow down", 429)


def test_a_client_that_left_is_no_error(ana):
    row = ended(ana, status_code=None, error=("unknown", "x"), cancelled=True)
    assert (row.outcome, row.error_type, row.error_message) == ("cancelled", None, None)
    assert row.status_code is None


def test_an_error_is_stored_whole_or_not_at_all(ana):
    unnamed = ended(ana, error=("mystery", "boom"))
    silent = ended(ana, error=("timeout", ""))
    assert (unnamed.error_type, unnamed.error_message) == ("unknown", "boom")
    assert (silent.error_type, silent.error_message) == ("timeout", "Timeout")


def test_the_first_end_counts(ana):
    recording = recorder.start(start_facts(ana))
    recording.end(status_code=200)
    first = row_of(recording)
    recording.end(status_code=500, error=("server_error", "late"))
    assert row_of(recording).ended_at == first.ended_at
    assert row_of(recording).outcome == "completed"
    assert Session.objects.get().failures == 0


def test_the_hint_of_the_last_key_replaces_a_pools(ana):
    recording = recorder.start(start_facts(ana, credential_hint="first"))
    recording.end(status_code=200, credential_hint="last")
    assert row_of(recording).credential_hint == "last"


def test_a_pools_hint_stays_when_the_end_knows_none(ana):
    recording = recorder.start(start_facts(ana, credential_hint="first"))
    recording.end(status_code=200)
    assert row_of(recording).credential_hint == "first"


def test_the_hint_of_a_users_own_key_is_never_replaced(ana):
    facts = start_facts(ana, credential_kind="byok", credential_hint="own")
    recording = recorder.start(facts)
    recording.end(status_code=200, credential_hint="other")
    assert row_of(recording).credential_hint == "own"


def test_known_secrets_are_masked_wherever_upstream_may_echo_them(ana):
    secret = "sk-ant-very-secret-0123456789"
    make_provider("claude").keys.create(secret=secret, position=0)
    registry.reload()
    recording = recorder.start(start_facts(ana))
    recording.attempt(**attempt_facts(detail=f"bad key {secret}"))
    recording.injected_tool(**injected(invocation_error=f"no: {secret}"))
    recording.end(status_code=401, error=("unauthorized", f"key {secret} is wrong"))
    row = row_of(recording)
    texts = [row.error_message, row.attempts.get().detail]
    texts.append(row.tool_usages.get().invocation_error)
    assert all("sk-a...6789" in text for text in texts)
    assert not any(secret in text for text in texts)


# Sessions and facets


def session_of(row: Interception) -> Session:
    return Session.objects.get(initiator=row.initiator, session_id=row.session_id)


def test_a_session_adds_up_what_belongs_to_it(ana):
    first = ask(ana, calls=["t1"], session="s")
    ask(ana, answers="t1", session="s")
    last = ask(ana, session="s")
    session = session_of(first)
    assert (session.interceptions, session.threads, session.tool_calls) == (3, 2, 1)
    assert (session.input_tokens, session.output_tokens) == (3, 3)
    assert session.failures == 0
    assert (session.started_at, session.ended_at) == (first.started_at, last.ended_at)
    assert session.last_active_at == last.ended_at


def test_a_session_in_progress_is_active_since_its_last_start(ana):
    recording = recorder.start(start_facts(ana))
    session = session_of(row_of(recording))
    assert session.ended_at is None
    assert session.last_active_at == row_of(recording).started_at


def test_a_session_collects_names_sorted(ana):
    for name, model in (("b", "y"), ("a", "z"), ("b", "x"), ("a", "")):
        facts = start_facts(ana, provider_name=name, model=model, client_session_id="s")
        recorder.start(facts)
    session = Session.objects.get()
    assert session.provider_ids == []
    assert session.provider_names == ["a", "b"]
    assert session.provider_kinds == ["anthropic"]
    assert session.model_names == ["x", "y", "z"]


def test_a_session_collects_the_ids_and_kinds_of_its_providers(ana):
    claude, gpt = make_provider("claude"), make_provider("gpt", "openai")
    for provider in (gpt, claude, gpt):
        asked = {"provider_id": provider.pk, "provider_kind": provider.kind}
        recording = recorder.start(start_facts(ana, client_session_id="s", **asked))
        recording.end(status_code=200)
    session = Session.objects.get()
    assert session.provider_ids == sorted([str(claude.pk), str(gpt.pk)])
    assert session.provider_kinds == ["anthropic", "openai"]


def test_a_session_shows_its_last_prompt_and_its_first_known_client(ana):
    given = [("Unknown", "one"), ("Claude Code", "two"), ("Codex", "x" * 600)]
    for client, prompt in given:
        facts = start_facts(ana, client=client, prompt=prompt, client_session_id="s")
        recorder.start(facts)
    recorder.start(start_facts(ana, prompt=None, client_session_id="s"))
    session = Session.objects.get()
    assert session.client == "Claude Code"
    assert session.last_prompt == "x" * 500


def test_a_session_counts_failures(ana):
    recording = recorder.start(start_facts(ana))
    recording.end(status_code=500, error=("server_error", "x"))
    assert session_of(row_of(recording)).failures == 1


def test_two_initiators_never_share_a_session(ana, ben):
    ask(ana, session="s")
    ask(ben, session="s")
    assert sorted(s.interceptions for s in Session.objects.all()) == [1, 1]


def test_a_thread_that_moves_to_another_session_counts_there_too(ana):
    ask(ana, calls=["t1"], session="s")
    moved = ask(ana, answers="t1", calls=["t2"], session="other")
    again = ask(ana, answers="t2", session="other")
    assert session_of(moved).threads == 1
    assert session_of(again).interceptions == 2


def test_each_model_client_and_provider_name_is_noted_once(ana):
    for model in ("m1", "m2", "m1", ""):
        recorder.start(start_facts(ana, model=model))
    found = set(Facet.objects.values_list("kind", "value"))
    assert found == {
        ("model", "m1"),
        ("model", "m2"),
        ("client", "Claude Code"),
        ("provider", "claude"),
    }


# What is stored is stored in few queries


def test_a_start_and_an_end_store_every_kind_of_row(ana):
    recording = recorder.start(start_facts(ana))
    recording.attempt(**attempt_facts(key_id=None))
    recording.turn(
        turn(
            usage=Usage(1),
            tool_calls=[ToolCall("t", "x")],
            thoughts=[Thought("thinking", "y")],
        )
    )
    recording.end(status_code=200)
    for model in (Attempt, ModelThought, TokenUsage, ToolUsage, UserPrompt):
        assert model.objects.get().interception_id == recording.id


def test_ids_are_ordered_by_time(ana):
    rows = [ask(ana) for _ in range(5)]
    assert [row.pk for row in rows] == sorted(row.pk for row in rows)
    assert rows[0].started_at - rows[-1].started_at < timedelta(0)
    assert new_id() > rows[-1].pk

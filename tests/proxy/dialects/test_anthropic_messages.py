"""The Messages dialect against answers and streams as Anthropic sends them."""

from __future__ import annotations

import json

import pytest

from proxy import dialects
from proxy.dialects.base import BadRequestBody, Thought, ToolCall, Turn, Usage

from .scenarios import having, load

MESSAGES = dialects.get("anthropic_messages")
STANDARD = {"service_tier": "standard"}
SONNET = "claude-sonnet-4-5-20250929"
THINKING = Thought(
    "thinking", "The user wants the contents of a file. I should read it first."
)
READ_FILE = ToolCall("toolu_01ReadFile", "read_file", '{"path":"go.mod"}')

TURNS = {
    "simple": Turn(
        "msg_01SimpleJoke",
        SONNET,
        Usage(18, 24, metadata=STANDARD),
        stop_reason="end_turn",
    ),
    "single_builtin_tool": Turn(
        "msg_01BuiltinTool",
        SONNET,
        Usage(2, 66, 13993, 22, metadata=STANDARD),
        [READ_FILE],
        [THINKING],
        "tool_use",
    ),
    "multi_thinking": Turn(
        "msg_01MultiThinking",
        SONNET,
        Usage(40, 120, metadata=STANDARD),
        [
            ToolCall(
                "toolu_01Edit",
                "edit",
                '{"file":"main.go","old":"a\\nb","new":"ä\\"\\\\"}',
            )
        ],
        [
            THINKING,
            Thought(
                "thinking", 'Now I know enough: "main.go" is small — ändern wir es.'
            ),
        ],
        "tool_use",
    ),
    "parallel_tools": Turn(
        "msg_01Parallel",
        SONNET,
        Usage(300, 95, metadata=STANDARD),
        [
            ToolCall("toolu_01Paris", "get_weather", '{"city":"Paris"}'),
            ToolCall("toolu_02Rome", "get_weather", '{"city":"Rome"}'),
            ToolCall("toolu_03Time", "get_time", "{}"),
        ],
        stop_reason="tool_use",
    ),
    "cached_tokens": Turn(
        "msg_01Cached",
        SONNET,
        Usage(
            4,
            50,
            20000,
            1500,
            {"cache_ephemeral_1h_input": 1000, "cache_ephemeral_5m_input": 500},
            {"service_tier": "priority"},
        ),
        stop_reason="end_turn",
    ),
    "web_search": Turn(
        "msg_01WebSearch",
        SONNET,
        Usage(10682, 131, extra={"web_search_requests": 1}, metadata=STANDARD),
        [
            ToolCall(
                "srvtoolu_01Search",
                "web_search",
                '{"query":"django 5.2 release notes"}',
                kind="server",
            )
        ],
        stop_reason="end_turn",
    ),
    "refusal": Turn(
        "msg_01Refusal",
        SONNET,
        Usage(12, 4, metadata=STANDARD),
        stop_reason="refusal",
    ),
    "crlf": Turn(
        "msg_01Crlf",
        SONNET,
        Usage(7, 31, metadata=STANDARD),
        [READ_FILE],
        [THINKING],
        "tool_use",
    ),
}
ERRORS = {
    "stream_error": ("overloaded", "Overloaded"),
    "error_after_start": (
        "rate_limited",
        "This request would exceed your account's rate limit.",
    ),
    "error_first": ("server_error", "Internal server error"),
}


def read(stream: bytes, *, clean: bool = True) -> tuple[Turn, bool]:
    reader = MESSAGES.stream_reader()
    reader.feed(stream)
    return reader.finish(clean=clean), reader.complete


def request(**fields: object) -> bytes:
    return json.dumps({"model": "claude", **fields}).encode()


def event(kind: str, **fields: object) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()


@pytest.mark.parametrize("scenario", sorted(TURNS))
def test_streamed_answer_is_read(scenario):
    stream = load("anthropic_messages", scenario, "stream.sse")
    assert read(stream) == (TURNS[scenario], True)


@pytest.mark.parametrize("scenario", sorted(set(TURNS) - {"crlf"}))
def test_blocking_answer_is_read_like_the_streamed_one(scenario):
    body = load("anthropic_messages", scenario, "response.json")
    assert MESSAGES.read_answer(body) == TURNS[scenario]


def test_every_stream_fixture_has_an_expectation():
    streams = having("anthropic_messages", "stream.sse")
    assert set(streams) == set(TURNS) | set(ERRORS)


@pytest.mark.parametrize("scenario", sorted(ERRORS))
def test_error_event_is_classed_by_its_own_type(scenario):
    reader = MESSAGES.stream_reader()
    reader.feed(load("anthropic_messages", scenario, "stream.sse"))
    turn = reader.finish(clean=True)
    assert reader.ended
    assert not reader.complete
    assert (turn.error.error_type, turn.error.message) == ERRORS[scenario]


def test_error_that_is_not_named_one_leaves_the_turn_open():
    """The SDK passes over it, so the gateway still has to say that it failed."""
    reader = MESSAGES.stream_reader()
    error = {"error": {"type": "overloaded_error", "message": "Busy"}}
    chunk = b"data: " + json.dumps(error).encode() + b"\n\n"
    assert reader.feed(chunk) == len(chunk)
    turn = reader.finish(clean=True)
    assert not reader.ended
    assert not reader.complete
    assert (turn.error.error_type, turn.error.message) == ("overloaded", "Busy")


def test_usage_before_an_error_event_is_kept():
    turn, _ = read(load("anthropic_messages", "stream_error", "stream.sse"))
    assert turn.response_id == "msg_01StreamError"
    assert turn.usage == Usage(25, 3, metadata=STANDARD)


@pytest.mark.parametrize(
    ("error_type", "expected"),
    [
        ("overloaded_error", "overloaded"),
        ("rate_limit_error", "rate_limited"),
        ("authentication_error", "unauthorized"),
        ("permission_error", "unauthorized"),
        ("invalid_request_error", "bad_request"),
        ("not_found_error", "bad_request"),
        ("request_too_large", "bad_request"),
        ("timeout_error", "timeout"),
        ("api_error", "server_error"),
        ("server_error", "server_error"),
        ("billing_error", "unknown"),
        ("", "unknown"),
    ],
)
def test_mid_stream_error_types(error_type, expected):
    error = {"type": error_type, "message": "m"}
    turn, _ = read(event("error", error=error))
    assert (turn.error.error_type, turn.error.message) == (expected, "m")


def test_stream_cut_mid_answer_is_truncated_and_keeps_what_was_learnt():
    stream = load("anthropic_messages", "multi_thinking", "stream.sse")
    cut = stream[: stream.rindex(b"event: content_block_stop")]
    turn, complete = read(cut)
    assert not complete
    assert turn.error.error_type == "server_error"
    assert turn.error.message == "upstream ended the stream before its terminal event"
    assert turn.usage == Usage(40, 3, metadata=STANDARD)
    assert turn.thoughts == TURNS["multi_thinking"].thoughts
    assert turn.tool_calls == []


def test_tool_calls_that_were_closed_before_the_cut_stay():
    stream = load("anthropic_messages", "parallel_tools", "stream.sse")
    turn, _ = read(stream[: stream.index(b"toolu_03Time")], clean=False)
    assert [call.id for call in turn.tool_calls] == ["toolu_01Paris", "toolu_02Rome"]


def test_half_a_thought_stays_when_the_stream_is_cut():
    stream = load("anthropic_messages", "single_builtin_tool", "stream.sse")
    turn, _ = read(stream[: stream.rindex(b'"thinking_delta"')], clean=False)
    (thought,) = turn.thoughts
    assert len(thought.content) > 20
    assert THINKING.content.startswith(thought.content)
    assert thought.content != THINKING.content


def test_last_output_count_wins_instead_of_a_sum():
    usage = {"input_tokens": 10, "output_tokens": 5}
    stream = (
        event("message_start", message={"id": "m", "usage": usage})
        + event("message_delta", delta={}, usage={"output_tokens": 30})
        + event("message_delta", delta={}, usage={"output_tokens": 61})
        + event("message_stop")
    )
    assert read(stream)[0].usage == Usage(10, 61)


def test_message_delta_that_repeats_input_and_cache_wins():
    start = {
        "input_tokens": 10,
        "output_tokens": 1,
        "cache_read_input_tokens": 7,
        "cache_creation": {"ephemeral_1h_input_tokens": 2},
    }
    last = {
        "input_tokens": 25,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": None,
        "output_tokens": 9,
    }
    stream = event("message_start", message={"usage": start})
    stream += event("message_delta", delta={}, usage=last)
    expected = Usage(25, 9, 7, 3, {"cache_ephemeral_1h_input": 2})
    assert read(stream)[0].usage == expected


def test_stop_reason_is_the_last_one_given():
    stream = event("message_delta", delta={"stop_reason": "tool_use"})
    stream += event("message_delta", delta={"stop_reason": None})
    assert read(stream)[0].stop_reason == "tool_use"


def test_stream_without_usage_has_none():
    stream = event("message_start", message={"id": "m"}) + event("message_stop")
    turn, complete = read(stream)
    assert complete
    assert turn.usage is None


def test_duplicate_message_start_is_ignored():
    first = event("message_start", message={"id": "a", "usage": {"input_tokens": 1}})
    second = event("message_start", message={"id": "b", "usage": {"input_tokens": 9}})
    turn, complete = read(first + second + event("message_stop"))
    assert complete
    assert (turn.response_id, turn.usage) == ("a", Usage(1))


def test_malformed_and_unknown_events_are_read_past():
    stream = load("anthropic_messages", "single_builtin_tool", "stream.sse")
    junk = (
        b'event: content_block_delta\ndata: {"type":"content_bl\n\n'
        b"event: brand_new\ndata: []\n\n"
        b'event: x\ndata: {"type":["unhashable"]}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta",'
        b'"index":{"a":1},"delta":7}\n\n'
    )
    middle = stream.index(b"event: content_block_stop")
    turn, complete = read(stream[:middle] + junk + stream[middle:])
    assert (turn, complete) == (TURNS["single_builtin_tool"], True)


def test_deeply_nested_event_is_read_past():
    nested = b"[" * 200_000
    stream = b'event: x\ndata: {"type":' + nested + b"\n\n" + event("message_stop")
    assert read(stream)[1]


def test_event_after_the_terminal_one_changes_nothing():
    stream = load("anthropic_messages", "simple", "stream.sse")
    reader = MESSAGES.stream_reader()
    reader.feed(stream)
    assert reader.feed(event("error", error={"type": "api_error"})) == 0
    assert reader.finish(clean=False) == TURNS["simple"]


def test_event_type_comes_from_the_event_name_when_the_data_has_none():
    turn, complete = read(
        b'event: message_start\ndata: {"message":{"id":"m"}}\n\n'
        b"event: message_stop\ndata: {}\n\n"
    )
    assert (turn.response_id, complete) == ("m", True)


def test_last_event_without_its_blank_line_counts_when_the_body_ended_properly():
    stream = load("anthropic_messages", "simple", "stream.sse").rstrip(b"\n")
    assert read(stream, clean=True)[1]
    assert not read(stream, clean=False)[1]


def test_text_delta_after_other_deltas_of_its_block_hides_nothing():
    stream = load("anthropic_messages", "single_builtin_tool", "stream.sse")
    spaced = stream.replace(b'"type":"text_delta"', b'"type": "text_delta"')
    assert read(spaced) == (TURNS["single_builtin_tool"], True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"', b"\xff", b"null"])
def test_answer_that_is_no_object_is_an_error(body):
    assert MESSAGES.read_answer(body).error.error_type == "server_error"


def test_error_object_with_status_200_is_an_error():
    body = load("anthropic_messages", "non_stream_error", "response.json")
    error = MESSAGES.read_answer(body).error
    assert error.error_type == "bad_request"
    assert "prompt is too long" in error.message


def test_answer_with_fields_of_odd_types_is_read_as_far_as_it_goes():
    body = json.dumps(
        {
            "id": 7,
            "model": None,
            "stop_reason": {},
            "usage": {"input_tokens": "9", "output_tokens": -1},
            "content": [None, {"type": "tool_use", "input": [1]}, {"type": 4}],
        }
    ).encode()
    turn = MESSAGES.read_answer(body)
    assert turn == Turn(usage=Usage(), tool_calls=[ToolCall("", "", "[1]")])


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (10**12, 10**12),
        (10**12 + 1, 0),
        (-1, 0),
        (True, 0),
        (1.5, 0),
        ("7", 0),
        (10**30, 0),
        (None, 0),
    ],
)
def test_token_counts_are_whole_and_sane(value, count):
    body = json.dumps({"usage": {"input_tokens": value}}).encode()
    assert MESSAGES.read_answer(body).usage.input == count


# Reference table 30.12: parsing.


@pytest.mark.parametrize("body", [b"", b"   \n\t  "], ids=["empty", "blank"])
def test_empty_body_is_refused(body):
    with pytest.raises(BadRequestBody, match="^messages empty request body$"):
        MESSAGES.read_request(body)


@pytest.mark.parametrize("body", [b'{"model":', b"[]", b'"x"', b"nul", b"[" * 100_000])
def test_invalid_json_is_refused(body):
    with pytest.raises(BadRequestBody, match="^messages invalid JSON request body"):
        MESSAGES.read_request(body)


def test_valid_body_is_sent_on_byte_for_byte():
    body = b' {"b":1.0, "a":123456789012345678901234567890,\n"s":"\\ud800"} '
    assert MESSAGES.read_request(body).body is body


@pytest.mark.parametrize(
    ("fields", "streaming"),
    [
        pytest.param({"stream": True}, True, id="true"),
        pytest.param({"stream": False}, False, id="false"),
        pytest.param({}, False, id="missing"),
        pytest.param({"stream": "true"}, False, id="text true"),
        pytest.param({"stream": 1}, False, id="one"),
    ],
)
def test_stream_is_strict(fields, streaming):
    assert MESSAGES.read_request(request(**fields)).streaming is streaming


@pytest.mark.parametrize(
    ("body", "model"),
    [
        pytest.param({"model": "claude-opus-4-5"}, "claude-opus-4-5", id="string"),
        pytest.param({}, "", id="missing"),
        pytest.param({"model": 123}, "", id="number"),
    ],
)
def test_model_is_text_only(body, model):
    assert MESSAGES.read_request(json.dumps(body).encode()).model == model


def user(content: object) -> list[object]:
    return [{"role": "user", "content": content}]


IMAGE = {"type": "image", "source": {}}


def text(value: object) -> dict[str, object]:
    return {"type": "text", "text": value}


REMINDER = "<system-reminder>\nbe careful\n</system-reminder>\n"


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        pytest.param(
            {"messages": user("hello")},
            "hello",
            id="last user message string content",
        ),
        pytest.param(
            {"messages": user([IMAGE, text("first"), IMAGE, text("last")])},
            "last",
            id="typed content returns last text block",
        ),
        pytest.param(
            {"messages": [*user("hi"), {"role": "assistant", "content": "yo"}]},
            None,
            id="last message not from user",
        ),
        pytest.param({}, None, id="no messages key"),
        pytest.param({"messages": []}, None, id="empty messages array"),
        pytest.param({"messages": user([])}, None, id="empty content array"),
        pytest.param(
            {"messages": user([IMAGE, IMAGE])}, None, id="only non text content"
        ),
        pytest.param(
            {"messages": user("first") + user("second")},
            "second",
            id="multiple messages with last being user",
        ),
        pytest.param({"messages": {}}, None, id="messages wrong type"),
        pytest.param({"messages": None}, None, id="messages null"),
        pytest.param({"messages": ["hi"]}, None, id="message wrong type"),
        pytest.param({"messages": user(7)}, None, id="content wrong type"),
        pytest.param({"messages": user("")}, "", id="empty string counts as found"),
        pytest.param({"messages": user("hi \n")}, "hi \n", id="kept verbatim"),
        pytest.param(
            {
                "messages": user(
                    [{"type": "tool_result", "tool_use_id": "t"}, text("go on")]
                )
            },
            "go on",
            id="tool result with trailing text",
        ),
        pytest.param(
            {"messages": user([{"type": "tool_result", "tool_use_id": "t"}])},
            None,
            id="tool result only",
        ),
        pytest.param(
            {
                "messages": [
                    *user("real"),
                    {"role": "system", "content": "agents"},
                    {"role": "developer", "content": "date"},
                ]
            },
            "real",
            id="trailing system and developer messages",
        ),
        pytest.param(
            {"messages": [{"role": "system", "content": "only"}]},
            None,
            id="system messages only",
        ),
        pytest.param(
            {"messages": user([text(REMINDER), text("real"), text(REMINDER)])},
            "real",
            id="reminder after the prompt",
        ),
        pytest.param(
            {"messages": user([text(REMINDER)])}, REMINDER, id="only a reminder"
        ),
        pytest.param(
            {"messages": user([text("real"), text(f"{REMINDER}and more")])},
            f"{REMINDER}and more",
            id="reminder with more text",
        ),
        pytest.param(
            {"messages": user([text("a"), text(7), text(None)])},
            "a",
            id="text of a wrong type",
        ),
    ],
)
def test_last_user_prompt(fields, prompt):
    assert MESSAGES.read_request(request(**fields)).prompt == prompt


def test_prompt_of_todays_claude_code_is_found():
    body = load("anthropic_messages", "claude_code", "request.json")
    read_request = MESSAGES.read_request(body)
    assert read_request.prompt == "fix the failing test\n"
    assert read_request.streaming


def test_continuation_of_todays_claude_code_names_its_tool_call():
    body = load("anthropic_messages", "claude_code_continuation", "request.json")
    read_request = MESSAGES.read_request(body)
    assert read_request.prompt is None
    assert read_request.correlating_tool_call_id == "toolu_01Ls"


def result(tool_use_id: object) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": tool_use_id, "content": "ok"}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        pytest.param({}, None, id="no messages field"),
        pytest.param({"messages": "x"}, None, id="messages string"),
        pytest.param({"messages": []}, None, id="empty array"),
        pytest.param({"messages": user([text("x")])}, None, id="no tool_result"),
        pytest.param({"messages": user([result("toolu_abc")])}, "toolu_abc", id="one"),
        pytest.param(
            {"messages": user([result("toolu_1"), text("x"), result("toolu_second")])},
            "toolu_second",
            id="tool_result, text, tool_result",
        ),
        pytest.param(
            {"messages": user([result("toolu_1")]) + user("text")},
            None,
            id="last message plain text",
        ),
        pytest.param(
            {
                "messages": [
                    *user([result("toolu_1")]),
                    {"role": "assistant", "content": "ok"},
                ]
            },
            None,
            id="last message assistant after tool_result message",
        ),
        pytest.param({"messages": user([result("")])}, None, id="empty id"),
        pytest.param({"messages": user([result(7)])}, None, id="id of a wrong type"),
    ],
)
def test_correlating_tool_call_id(fields, found):
    assert MESSAGES.read_request(request(**fields)).correlating_tool_call_id == found


def test_lone_surrogates_of_a_prompt_are_replaced():
    body = b'{"messages":[{"role":"user","content":"a\\ud800b"}]}'
    assert MESSAGES.read_request(body).prompt == "a�b"

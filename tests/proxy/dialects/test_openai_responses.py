"""The Responses dialect against OpenAI's answers and event streams."""

from __future__ import annotations

import json

import pytest

from proxy import dialects
from proxy.dialects.base import BadRequestBody, Thought, ToolCall, Turn, Usage

from .scenarios import having, load

RESPONSES = dialects.get("openai_responses")
MINI = "gpt-4o-mini-2024-07-18"


def usage(total: int, output: int, cached: int = 0, reasoning: int = 0) -> Usage:
    extra = {"output_reasoning": reasoning, "total_tokens": total}
    return Usage(total - output - cached, output, cached, 0, extra)


SUMMARIES = [
    Thought("reasoning_summary", "**Reading the file**\n\nI should look at it first."),
    Thought("reasoning_summary", "**Planning the edit**\n\nThen change it."),
]
PATCH = "*** Begin Patch\n*** End Patch\n"

TURNS = {
    "simple": Turn("resp_Simple", MINI, usage(29, 18), stop_reason="completed"),
    "cached_tokens": Turn(
        "resp_Cached", MINI, usage(12077, 44, 11904), stop_reason="completed"
    ),
    "multi_reasoning": Turn(
        "resp_Reasoning",
        MINI,
        usage(213, 148, 0, 128),
        [ToolCall("call_Add", "add", '{"a":3,"b":5}', item_id="fc_Add")],
        SUMMARIES,
        "completed",
    ),
    "single_builtin_tool": Turn(
        "resp_Tool",
        MINI,
        usage(76, 18),
        [ToolCall("call_Sum", "add", '{"a":3,"b":5}', item_id="fc_Sum")],
        stop_reason="completed",
    ),
    "parallel_tools": Turn(
        "resp_Parallel",
        MINI,
        usage(110, 40),
        [
            ToolCall("call_Paris", "get_weather", '{"city":"Paris"}', item_id="fc_1"),
            ToolCall("call_Rome", "get_weather", '{"city":"Rome"}', item_id="fc_2"),
        ],
        stop_reason="completed",
    ),
    "custom_tool": Turn(
        "resp_Custom",
        MINI,
        usage(120, 30),
        [ToolCall("call_Patch", "apply_patch", PATCH, "custom", "ctc_1")],
        stop_reason="completed",
    ),
    "web_search": Turn(
        "resp_Search",
        MINI,
        usage(360, 60),
        [
            ToolCall(
                "ws_1",
                "web_search_call",
                '{"type":"search","query":"django news"}',
                "server",
                "ws_1",
            )
        ],
        stop_reason="completed",
    ),
    "mcp_call": Turn(
        "resp_Mcp",
        MINI,
        usage(145, 25),
        [ToolCall("mcp_1", "roll", '{"sides":6}', "server", "mcp_1")],
        stop_reason="completed",
    ),
    "commentary": Turn(
        "resp_Commentary",
        MINI,
        usage(250, 50),
        [ToolCall("call_Sh", "shell", '{"command":["ls"]}', item_id="fc_Sh")],
        [Thought("commentary", "I'll look at the test first.")],
        "completed",
    ),
    "refusal": Turn("resp_Refusal", MINI, usage(24, 10), stop_reason="completed"),
    "incomplete": Turn(
        "resp_Half", MINI, usage(31, 16), stop_reason="max_output_tokens"
    ),
    "codex": Turn(
        "resp_Codex",
        MINI,
        usage(4070, 70, 3584, 40),
        [ToolCall("call_Ex", "apply_patch", PATCH, "custom", "ctc_2")],
        SUMMARIES,
        "completed",
    ),
}
ERRORS = {
    "failed": ("server_error", "The model failed to generate a response."),
    "stream_error": ("rate_limited", "Rate limit reached for requests"),
    "nested_error": (
        "rate_limited",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "error_first": ("bad_request", "Conversation with id 'conv_1' not found."),
}


def read(stream: bytes, *, clean: bool = True) -> tuple[Turn, bool]:
    reader = RESPONSES.stream_reader()
    reader.feed(stream)
    return reader.finish(clean=clean), reader.complete


def event(kind: str, **fields: object) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()


@pytest.mark.parametrize("scenario", sorted(TURNS))
def test_streamed_answer_is_read(scenario):
    stream = load("openai_responses", scenario, "stream.sse")
    assert read(stream) == (TURNS[scenario], True)


@pytest.mark.parametrize("scenario", sorted(set(TURNS) - {"codex"}))
def test_blocking_answer_is_read_like_the_streamed_one(scenario):
    body = load("openai_responses", scenario, "response.json")
    assert RESPONSES.read_answer(body) == TURNS[scenario]


def test_every_stream_fixture_has_an_expectation():
    assert set(having("openai_responses", "stream.sse")) == set(TURNS) | set(ERRORS)


@pytest.mark.parametrize("scenario", sorted(ERRORS))
def test_error_event_ends_the_turn(scenario):
    reader = RESPONSES.stream_reader()
    reader.feed(load("openai_responses", scenario, "stream.sse"))
    turn = reader.finish(clean=True)
    assert reader.ended
    assert not reader.complete
    assert (turn.error.error_type, turn.error.message) == ERRORS[scenario]


def test_thoughts_before_an_error_event_are_kept():
    turn, _ = read(load("openai_responses", "stream_error", "stream.sse"))
    assert turn.response_id == "resp_Bare"
    assert turn.thoughts == SUMMARIES


def test_usage_of_a_failed_response_is_kept():
    given = {"input_tokens": 7, "output_tokens": 0, "total_tokens": 7}
    response = {"id": "r", "usage": given, "error": {"code": "server_error"}}
    turn, _ = read(event("response.failed", response=response))
    assert turn.usage == usage(7, 0)
    assert (turn.error.error_type, turn.error.message) == (
        "server_error",
        "server_error",
    )


def test_failed_blocking_response_is_an_error():
    body = load("openai_responses", "failed", "response.json")
    turn = RESPONSES.read_answer(body)
    assert turn.response_id == "resp_Failed"
    assert (turn.error.error_type, turn.error.message) == ERRORS["failed"]


def test_failed_response_that_does_not_say_why_is_an_error():
    turn = RESPONSES.read_answer(b'{"id":"r","status":"failed","error":null}')
    assert (turn.error.error_type, turn.error.message) == ("unknown", "failed")


def test_stream_cut_mid_answer_is_truncated_and_keeps_finished_items():
    stream = load("openai_responses", "parallel_tools", "stream.sse")
    turn, complete = read(stream[: stream.rindex(b"event: response.output_item.done")])
    assert not complete
    assert turn.error.error_type == "server_error"
    assert turn.error.message == "upstream ended the stream before its terminal event"
    assert turn.response_id == "resp_Parallel"
    assert [call.id for call in turn.tool_calls] == ["call_Paris"]


def test_half_a_summary_stays_when_the_stream_is_cut():
    stream = load("openai_responses", "multi_reasoning", "stream.sse")
    marker = b"event: response.reasoning_summary_text.delta"
    turn, _ = read(stream[: stream.rindex(marker)], clean=False)
    first, second = turn.thoughts
    assert first == SUMMARIES[0]
    assert SUMMARIES[1].content.startswith(second.content)


def test_item_that_was_done_and_is_in_the_final_response_counts_once():
    stream = load("openai_responses", "commentary", "stream.sse")
    turn, _ = read(stream)
    assert len(turn.tool_calls) == len(turn.thoughts) == 1


def test_items_without_any_id_are_all_kept():
    item = {"type": "function_call", "name": "f", "arguments": "{}"}
    stream = event("response.output_item.done", item=item) * 2
    stream += event("response.completed", response={"id": "r"})
    assert len(read(stream)[0].tool_calls) == 2


def test_completed_response_without_usage_has_none():
    turn, complete = read(event("response.completed", response={"id": "r"}))
    assert complete
    assert turn.usage is None


def test_streams_without_event_names_are_read():
    stream = load("openai_responses", "multi_reasoning", "stream.sse")
    lines = [line for line in stream.split(b"\n") if not line.startswith(b"event:")]
    assert read(b"\n".join(lines)) == (TURNS["multi_reasoning"], True)


def test_done_marker_alone_is_no_terminal_event():
    assert not read(
        event("response.created", response={"id": "r"}) + b"data: [DONE]\n\n"
    )[1]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        pytest.param(
            {"type": "file_search_call", "id": "fs", "queries": ["a"]},
            ToolCall("fs", "file_search_call", '["a"]', "server", "fs"),
            id="file search",
        ),
        pytest.param(
            {"type": "code_interpreter_call", "id": "ci", "code": "1+1"},
            ToolCall("ci", "code_interpreter_call", "1+1", "server", "ci"),
            id="code interpreter",
        ),
        pytest.param(
            {"type": "image_generation_call", "id": "ig", "result": "aGk="},
            ToolCall("ig", "image_generation_call", "", "server", "ig"),
            id="image generation",
        ),
        pytest.param(
            {
                "type": "local_shell_call",
                "id": "ls",
                "call_id": "c",
                "action": {"command": ["ls"]},
            },
            ToolCall("c", "local_shell_call", '{"command":["ls"]}', "function", "ls"),
            id="local shell",
        ),
    ],
)
def test_other_tools_are_named_by_their_item_type(item, expected):
    body = json.dumps({"output": [item]}).encode()
    assert RESPONSES.read_answer(body).tool_calls == [expected]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("  \n", "", id="blanks"),
        pytest.param("{not valid json}", "{not valid json}", id="bad json"),
        pytest.param(' {"a":{"b":1}} ', '{"a":{"b":1}}', id="nested with blanks"),
        pytest.param(None, "", id="null"),
        pytest.param({"a": 1}, '{"a":1}', id="object"),
    ],
)
def test_tool_arguments(arguments, expected):
    item = {"type": "function_call", "call_id": "c", "arguments": arguments}
    body = json.dumps({"output": [item]}).encode()
    assert RESPONSES.read_answer(body).tool_calls[0].arguments == expected


def test_tool_calls_come_in_the_order_of_the_output():
    output = [
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "get_weather",
            "arguments": '{"location":"NYC"}',
        },
        {
            "type": "function_call",
            "call_id": "call_2",
            "name": "bad_json_args",
            "arguments": '{"bad": args',
        },
        {"type": "message", "content": [{"type": "output_text", "text": "x"}]},
        {
            "type": "custom_tool_call",
            "call_id": "call_3",
            "name": "search",
            "input": " raw\n",
        },
        {
            "type": "function_call",
            "call_id": "call_4",
            "name": "calculate",
            "arguments": '{"a":1,"b":2}',
        },
    ]
    body = json.dumps({"id": "resp_789", "output": output}).encode()
    calls = RESPONSES.read_answer(body).tool_calls
    assert [(call.id, call.name, call.arguments) for call in calls] == [
        ("call_1", "get_weather", '{"location":"NYC"}'),
        ("call_2", "bad_json_args", '{"bad": args'),
        ("call_3", "search", " raw\n"),
        ("call_4", "calculate", '{"a":1,"b":2}'),
    ]


def test_token_usage_row_of_the_reference():
    given = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 5},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 30,
    }
    found = RESPONSES.read_answer(json.dumps({"usage": given}).encode()).usage
    assert found == Usage(5, 20, 5, 0, {"output_reasoning": 5, "total_tokens": 30})


@pytest.mark.parametrize(
    ("whole", "cached", "remaining"),
    [(10, 4, 6), (4, 10, 0)],
    ids=["cached subtracted", "never below zero"],
)
def test_cached_tokens_are_subtracted(whole, cached, remaining):
    details = {"cached_tokens": cached}
    answer = {"usage": {"input_tokens": whole, "input_tokens_details": details}}
    found = RESPONSES.read_answer(json.dumps(answer).encode()).usage
    assert (found.input, found.cache_read_input) == (remaining, cached)


def test_malformed_events_are_read_past():
    stream = load("openai_responses", "multi_reasoning", "stream.sse")
    junk = (
        b'event: response.output_item.done\ndata: {"type":"response.out\n\n'
        b'event: response.output_item.done\ndata: {"type":{},"item":[1]}\n\n'
        b'event: response.reasoning_summary_text.delta\ndata: {"type":'
        b'"response.reasoning_summary_text.delta","item_id":[],"delta":{}}\n\n'
        b"event: response.unheard_of\ndata: 12\n\n"
    )
    first = stream.index(b"\n\n") + 2
    junked = stream[:first] + junk + stream[first:]
    assert read(junked) == (TURNS["multi_reasoning"], True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"null"])
def test_answer_that_is_no_object_is_an_error(body):
    assert RESPONSES.read_answer(body).error.error_type == "server_error"


# Reference table 30.12: parsing.


def request(**fields: object) -> bytes:
    return json.dumps({"model": "gpt", **fields}).encode()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "empty request body", id="nil"),
        pytest.param(b" \t", "empty request body", id="blank"),
        pytest.param(b"{broken", "invalid JSON payload", id="broken"),
        pytest.param(b"[]", "invalid JSON payload", id="list"),
    ],
)
def test_bad_body_is_refused(body, message):
    with pytest.raises(BadRequestBody, match=f"^{message}"):
        RESPONSES.read_request(body)


def test_odd_types_are_accepted_unchanged():
    body = b'{"model":123,"stream":"yes","input":42,"background":"nope"}'
    found = RESPONSES.read_request(body)
    assert found.body is body
    assert (found.model, found.streaming, found.background) == ("123", False, False)
    assert (found.prompt, found.correlating_tool_call_id) == (None, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        ("true", True),
        ("T", True),
        ("1", True),
        (2, True),
        (False, False),
        ("yes", False),
        (0, False),
        (None, False),
    ],
)
def test_stream_and_background_are_lenient(value, expected):
    found = RESPONSES.read_request(request(stream=value, background=value))
    assert (found.streaming, found.background) == (expected, expected)


@pytest.mark.parametrize(
    ("model", "expected"),
    [("gpt-5", "gpt-5"), (123, "123"), (1.5, "1.5"), (None, ""), (True, "true")],
)
def test_model_is_made_text(model, expected):
    assert RESPONSES.read_request(request(model=model)).model == expected


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def part(value: object) -> dict[str, object]:
    return {"type": "input_text", "text": value}


PRIME = "Is 3 + 5 a prime number? Use the add function to calculate the sum."


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        pytest.param({}, None, id="no input"),
        pytest.param({"input": None}, None, id="null"),
        pytest.param({"input": []}, None, id="empty list"),
        pytest.param({"input": ""}, "", id="input empty string"),
        pytest.param({"input": [user("")]}, "", id="array content empty string"),
        pytest.param(
            {"input": [user([part("")])]}, "", id="array content array empty string"
        ),
        pytest.param(
            {"input": [user([part("a"), part("b")])]},
            "a\nb",
            id="array content array multiple inputs",
        ),
        pytest.param(
            {"input": "tell me a joke"}, "tell me a joke", id="simple string input"
        ),
        pytest.param({"input": [user(PRIME)]}, PRIME, id="array single input string"),
        pytest.param({"input": 123}, None, id="input integer"),
        pytest.param(
            {"input": [{"role": "assistant", "content": "x"}]}, None, id="no user role"
        ),
        pytest.param({"input": [user([])]}, None, id="empty content array"),
        pytest.param({"input": [{"role": "user"}]}, None, id="content missing"),
        pytest.param({"input": [user(None)]}, None, id="content null"),
        pytest.param({"input": [user(123)]}, None, id="content integer"),
        pytest.param(
            {"input": [user([{"type": "input_image", "text": "x"}])]},
            None,
            id="non input_text content",
        ),
        pytest.param(
            {"input": [user("x"), {"role": "assistant", "content": "y"}]},
            None,
            id="user content not last",
        ),
        pytest.param(
            {"input": [user([part(7)])]}, None, id="input_text with integer text"
        ),
        pytest.param(
            {"input": [user("x"), {"role": "developer", "content": "y"}]},
            "x",
            id="trailing developer item",
        ),
        pytest.param(
            {
                "input": [
                    user([part("<system-reminder>r</system-reminder>"), part("x")])
                ]
            },
            "x",
            id="reminder beside other text",
        ),
    ],
)
def test_last_user_prompt(fields, prompt):
    assert RESPONSES.read_request(request(**fields)).prompt == prompt


def test_prompt_of_todays_codex_is_its_last_input_item():
    body = load("openai_responses", "codex", "request.json")
    assert RESPONSES.read_request(body).prompt == "hello"


def test_continuation_of_todays_codex_names_its_tool_call():
    body = load("openai_responses", "codex_continuation", "request.json")
    found = RESPONSES.read_request(body)
    assert (found.prompt, found.correlating_tool_call_id) == (None, "call_Ex")


def output(call_id: object) -> dict[str, object]:
    return {"type": "function_call_output", "call_id": call_id, "output": "ok"}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        pytest.param({}, None, id="no input"),
        pytest.param({"input": []}, None, id="empty list"),
        pytest.param({"input": [user("x")]}, None, id="no outputs"),
        pytest.param({"input": [output("call_abc")]}, "call_abc", id="single"),
        pytest.param(
            {"input": [output("call_first"), output("call_second")]},
            "call_second",
            id="several",
        ),
        pytest.param(
            {"input": [output("call_abc"), user("x")]}, None, id="last item user"
        ),
        pytest.param(
            {"input": [{"type": "function_call_output", "output": "ok"}]},
            None,
            id="missing call_id",
        ),
        pytest.param(
            {"input": [{"type": "custom_tool_call_output", "call_id": "call_c"}]},
            "call_c",
            id="custom tool",
        ),
        pytest.param({"input": "call_abc"}, None, id="input string"),
    ],
)
def test_correlating_tool_call_id(fields, found):
    read_request = RESPONSES.read_request(request(**fields))
    assert read_request.correlating_tool_call_id == found

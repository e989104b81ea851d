"""The Chat Completions dialect against OpenAI's answers and those of imitators."""

from __future__ import annotations

import json

import pytest

from proxy import dialects
from proxy.dialects.base import BadRequestBody, ToolCall, Turn, Usage

from .scenarios import having, load

CHAT = dialects.get("openai_chat")
GPT = "gpt-4.1-2025-04-14"


def usage(prompt: int, output: int, cached: int = 0, **extra: int) -> Usage:
    kinds = (
        "prompt_audio",
        "completion_accepted_prediction",
        "completion_rejected_prediction",
        "completion_audio",
        "completion_reasoning",
    )
    return Usage(
        prompt, output, cached, 0, {kind: extra.get(kind, 0) for kind in kinds}
    )


TURNS = {
    "simple": Turn("chatcmpl-Simple", GPT, usage(19, 200), stop_reason="stop"),
    "cached_tokens": Turn(
        "chatcmpl-Cached", GPT, usage(128, 12, 1920), stop_reason="stop"
    ),
    "reasoning": Turn(
        "chatcmpl-Reasoning",
        GPT,
        usage(
            30,
            540,
            prompt_audio=4,
            completion_accepted_prediction=3,
            completion_rejected_prediction=2,
            completion_reasoning=512,
        ),
        stop_reason="stop",
    ),
    "single_builtin_tool": Turn(
        "chatcmpl-Tool",
        GPT,
        usage(60, 20),
        [ToolCall("call_ReadFile", "read_file", '{"path":"README.md"}')],
        stop_reason="tool_calls",
    ),
    "parallel_tools": Turn(
        "chatcmpl-Parallel",
        GPT,
        usage(80, 45),
        [
            ToolCall("call_Paris", "get_weather", '{"city":"Paris"}'),
            ToolCall("call_Rome", "get_weather", '{"city":"Rome"}'),
            ToolCall("call_Time", "get_time", "{}"),
        ],
        stop_reason="tool_calls",
    ),
    "custom_tool": Turn(
        "chatcmpl-Custom",
        GPT,
        usage(33, 21),
        [
            ToolCall(
                "call_Custom",
                "code_exec",
                'print("hello")\nprint(1 + 1)',
                kind="custom",
            )
        ],
        stop_reason="tool_calls",
    ),
    "refusal": Turn("chatcmpl-Refusal", GPT, usage(11, 9), stop_reason="stop"),
    "two_choices": Turn("chatcmpl-Two", GPT, usage(9, 6), stop_reason="stop"),
    "no_done": Turn("chatcmpl-NoDone", "local-model", usage(5, 3), stop_reason="stop"),
    "azure_filter": Turn("chatcmpl-Azure", GPT, usage(8, 4), stop_reason="stop"),
}
ERRORS = {
    "stream_error": (
        "server_error",
        "The server had an error while processing your request. Sorry about that!",
    ),
    "error_first": ("rate_limited", "Rate limit reached for gpt-4.1"),
    "numeric_error": ("server_error", "Provider disconnected"),
}


def read(stream: bytes, *, clean: bool = True) -> tuple[Turn, bool]:
    reader = CHAT.stream_reader()
    reader.feed(stream)
    return reader.finish(clean=clean), reader.complete


def chunk(delta: object, finish_reason: object = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


def call(index: int, arguments: str, call_id: str = "", name: str = "") -> object:
    entry: dict[str, object] = {"index": index, "function": {"arguments": arguments}}
    if call_id:
        entry |= {"id": call_id, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [entry]}


@pytest.mark.parametrize("scenario", sorted(TURNS))
def test_streamed_answer_is_read(scenario):
    stream = load("openai_chat", scenario, "stream.sse")
    assert read(stream) == (TURNS[scenario], True)


@pytest.mark.parametrize(
    "scenario", sorted(set(having("openai_chat", "response.json")) & set(TURNS))
)
def test_blocking_answer_is_read_like_the_streamed_one(scenario):
    body = load("openai_chat", scenario, "response.json")
    assert CHAT.read_answer(body) == TURNS[scenario]


def test_every_stream_fixture_has_an_expectation():
    assert set(having("openai_chat", "stream.sse")) == set(TURNS) | set(ERRORS)


@pytest.mark.parametrize("scenario", sorted(ERRORS))
def test_error_chunk_ends_the_turn(scenario):
    reader = CHAT.stream_reader()
    reader.feed(load("openai_chat", scenario, "stream.sse"))
    turn = reader.finish(clean=True)
    assert reader.ended
    assert not reader.complete
    assert (turn.error.error_type, turn.error.message) == ERRORS[scenario]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"type": "invalid_request_error", "code": "invalid_api_key"}, "unauthorized"),
        ({"type": "insufficient_quota", "code": None}, "rate_limited"),
        ({"type": "requests", "code": "rate_limit_exceeded"}, "rate_limited"),
        ({"type": "invalid_request_error", "code": None}, "bad_request"),
        ({"type": "server_error"}, "server_error"),
        ({"code": 429}, "rate_limited"),
        ({"code": 503, "status": "UNAVAILABLE"}, "overloaded"),
        ({"type": "never_heard_of"}, "unknown"),
        ("just text", "unknown"),
        (True, "unknown"),
    ],
)
def test_mid_stream_error_types(error, expected):
    turn, _ = read(b"data: " + json.dumps({"error": error}).encode() + b"\n\n")
    assert turn.error.error_type == expected
    assert turn.error.message


def test_stream_that_ends_without_finish_reason_is_truncated():
    stream = load("openai_chat", "simple", "stream.sse")
    turn, complete = read(stream[: stream.index(b'"stop"')])
    assert not complete
    assert turn.error.error_type == "server_error"
    assert turn.error.message == "upstream ended the stream before its terminal event"


def test_done_marker_is_not_needed_once_every_choice_finished():
    stream = load("openai_chat", "no_done", "stream.sse")
    reader = CHAT.stream_reader()
    assert reader.feed(stream) == len(stream)
    assert not reader.ended
    reader.finish(clean=True)
    assert reader.complete


def test_missing_done_marker_of_a_torn_body_is_a_truncation():
    turn, complete = read(load("openai_chat", "no_done", "stream.sse"), clean=False)
    assert not complete
    assert turn.error.error_type == "server_error"
    assert turn.usage == TURNS["no_done"].usage


def test_one_unfinished_choice_of_two_is_a_truncation():
    stream = load("openai_chat", "two_choices", "stream.sse")
    assert not read(stream[: stream.index(b'"!"') + 40])[1]


def test_stream_without_usage_has_none():
    turn, complete = read(chunk({"content": "x"}, "stop") + b"data: [DONE]\n\n")
    assert complete
    assert turn.usage is None


def test_last_usage_wins_when_every_chunk_has_one():
    first = {"id": "c", "choices": [], "usage": {"prompt_tokens": 4}}
    last = {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 9}}
    stream = b"".join(
        b"data: " + json.dumps(data).encode() + b"\n\n" for data in (first, last)
    )
    assert read(stream)[0].usage == usage(4, 9)


@pytest.mark.parametrize(
    ("prompt", "cached", "remaining"),
    [(10, 4, 6), (4, 10, 0)],
    ids=["cached subtracted", "never below zero"],
)
def test_cached_tokens_are_subtracted(prompt, cached, remaining):
    details = {"cached_tokens": cached}
    answer = {"usage": {"prompt_tokens": prompt, "prompt_tokens_details": details}}
    found = CHAT.read_answer(json.dumps(answer).encode()).usage
    assert (found.input, found.cache_read_input) == (remaining, cached)


def test_calls_that_come_interleaved_are_put_together():
    stream = (
        chunk(call(0, "", "a", "f"))
        + chunk(call(1, "", "b", "g"))
        + chunk(call(0, '{"x":'))
        + chunk(call(1, "{}"))
        + chunk(call(0, "1}"))
        + chunk({}, "tool_calls")
    )
    assert read(stream)[0].tool_calls == [
        ToolCall("a", "f", '{"x":1}'),
        ToolCall("b", "g", "{}"),
    ]


def test_calls_that_share_an_index_are_told_apart_by_their_id():
    stream = (
        chunk(call(0, "{}", "a", "f"))
        + chunk(call(0, "{}", "b", "f"))
        + chunk({}, "tool_calls")
    )
    assert [found.id for found in read(stream)[0].tool_calls] == ["a", "b"]


def test_calls_of_every_choice_are_read():
    stream = (
        chunk(call(0, "{}", "a", "f"), index=0)
        + chunk(call(0, "{}", "b", "g"), index=1)
        + chunk({}, "tool_calls", index=0)
        + chunk({}, "tool_calls", index=1)
    )
    assert [found.id for found in read(stream)[0].tool_calls] == ["a", "b"]


def test_only_finished_calls_of_a_truncated_stream_stay():
    stream = (
        chunk(call(0, "{}", "a", "f"))
        + chunk(call(1, "{}", "b", "f"))
        + chunk(call(2, '{"ha', "c", "f"))
    )
    turn, _ = read(stream)
    assert [found.id for found in turn.tool_calls] == ["a", "b"]


def test_legacy_function_call_is_a_tool_call():
    stream = (
        chunk({"function_call": {"name": "f", "arguments": ""}})
        + chunk({"function_call": {"arguments": "{}"}})
        + chunk({}, "function_call")
    )
    assert read(stream)[0].tool_calls == [ToolCall("", "f", "{}")]


def test_arguments_that_are_no_text_are_written_as_json():
    stream = chunk(
        {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]}
    )
    assert read(stream + chunk({}, "stop"))[0].tool_calls[0].arguments == '{"x":1}'


def test_chunk_that_looks_like_text_and_is_more_is_read_in_full():
    text = chunk({"content": "plain"})
    tricky = chunk(
        {"content": "plain", "tool_calls": call(0, "{}", "a", "f")["tool_calls"]}
    )
    last = chunk({"content": "x"}, "stop")
    turn, complete = read(chunk({"role": "assistant"}) + text + text + tricky + last)
    assert complete
    assert [found.id for found in turn.tool_calls] == ["a"]


def test_text_beside_a_tool_call_hides_nothing():
    both = {"content": "x", **call(0, "a")}
    stream = chunk(call(0, "", "i", "f")) + chunk(both) * 3
    assert read(stream + chunk({}, "stop"))[0].tool_calls[0].arguments == "aaa"


def test_tool_call_of_another_choice_in_the_chunk_hides_nothing():
    text = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
    other = {"index": 1, "delta": call(0, "a", "i", "f"), "finish_reason": None}
    both = b"data: " + json.dumps({"choices": [text, other]}).encode() + b"\n\n"
    assert read(both * 3 + b"data: [DONE]\n\n")[0].tool_calls[0].arguments == "aaa"


def test_text_of_every_choice_is_told_apart():
    stream = b"".join(
        b'data: {"choices":[{"delta":{"content":"%s"},"finish_reason":null,'
        b'"index":%d}]}\n\n' % (text, index)
        for text, index in [(b"a", 0), (b"b", 0), (b"c", 1)]
    )
    assert not read(stream + chunk({}, "stop", index=0))[1]


def test_finished_call_that_equals_an_unfinished_one_stays():
    stream = (
        chunk(call(0, "{}"), index=0)
        + chunk(call(0, "{}"), index=1)
        + chunk({}, "tool_calls", index=0)
    )
    assert len(read(stream)[0].tool_calls) == 1


def test_usage_behind_the_padding_of_a_text_chunk_is_read():
    text = (
        b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a"},'
        b'"finish_reason":null}],"obfuscation":"xx"}\n\n'
    )
    with_usage = text.replace(
        b'"xx"}', b'"y","usage":{"prompt_tokens":3,"completion_tokens":1}}'
    )
    assert read(text + text + with_usage)[0].usage == usage(3, 1)


def test_malformed_events_are_read_past():
    stream = load("openai_chat", "single_builtin_tool", "stream.sse")
    junk = (
        b'data: {"id":\n\ndata: []\n\ndata: {"choices":[{"index":{},"delta":3}, 7]}\n\n'
        b'data: {"choices":{"a":1},"usage":[]}\n\n: comment\n\n'
    )
    first = stream.index(b"\n\n") + 2
    junked = stream[:first] + junk + stream[first:]
    assert read(junked) == (TURNS["single_builtin_tool"], True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"null"])
def test_answer_that_is_no_object_is_an_error(body):
    assert CHAT.read_answer(body).error.error_type == "server_error"


def test_error_object_with_status_200_is_an_error():
    body = load("openai_chat", "non_stream_error", "response.json")
    error = CHAT.read_answer(body).error
    assert error.error_type == "bad_request"
    assert "Input tokens exceed the configured limit" in error.message


# Reference table 30.12: parsing.


def request(**fields: object) -> bytes:
    return json.dumps({"model": "gpt", **fields}).encode()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "unmarshal request body: empty request body"),
        (b" \n", "unmarshal request body: empty request body"),
        (b"{broken", "unmarshal request body: invalid JSON"),
        (b"[]", "unmarshal request body: not a JSON object"),
    ],
)
def test_bad_body_is_refused(body, message):
    with pytest.raises(BadRequestBody, match=f"^{message}$"):
        CHAT.read_request(body)


LENIENT = [
    pytest.param(True, True, id="true"),
    pytest.param("true", True, id="text true"),
    pytest.param("1", True, id="text one"),
    pytest.param("t", True, id="text t"),
    pytest.param(1, True, id="one"),
    pytest.param(0.5, True, id="half"),
    pytest.param(False, False, id="false"),
    pytest.param("yes", False, id="text yes"),
    pytest.param("nope", False, id="text nope"),
    pytest.param(0, False, id="zero"),
    pytest.param(None, False, id="null"),
    pytest.param([True], False, id="list"),
]


@pytest.mark.parametrize(("value", "streaming"), LENIENT)
def test_stream_is_lenient(value, streaming):
    assert CHAT.read_request(request(stream=value)).streaming is streaming


def test_blocking_body_is_sent_on_byte_for_byte():
    body = request(messages=[], n=3, stream=False)
    assert CHAT.read_request(body).body is body


def test_streaming_body_asks_for_usage_and_is_otherwise_unchanged():
    body = b' \n{"model":"m", "n":2,\t"stream":true,"x":1.0,"big":' + b"9" * 40 + b"}"
    sent = CHAT.read_request(body).body
    added = b'"stream_options":{"include_usage":true},'
    assert sent == body.replace(b"{", b"{" + added, 1)
    assert json.loads(sent)["stream_options"] == {"include_usage": True}


def test_streaming_body_that_asks_for_usage_is_sent_on_byte_for_byte():
    body = b'{"stream":true,  "stream_options":{"include_usage" : true}}'
    assert CHAT.read_request(body).body is body


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"include_usage": False}, {"include_usage": True}),
        (None, {"include_usage": True}),
        ({}, {"include_usage": True}),
        (
            {"include_obfuscation": False},
            {"include_obfuscation": False, "include_usage": True},
        ),
        ("odd", "odd"),
    ],
)
def test_stream_options_of_the_client_are_kept(options, sent):
    body = request(stream=True, stream_options=options, seed=12345678901234567890123)
    edited = json.loads(CHAT.read_request(body).body)
    assert edited == {**json.loads(body), "stream_options": sent}
    assert list(edited) == list(json.loads(body))


def test_stream_options_elsewhere_in_the_body_do_not_count():
    body = b'{"stream":true,"metadata":{"stream_options":{"include_usage":true}}}'
    sent = json.loads(CHAT.read_request(body).body)
    assert sent["stream_options"] == {"include_usage": True}


def test_same_request_yields_the_same_body_every_time():
    body = request(stream=True, stream_options={"b": 1}, messages=[])
    assert len({CHAT.read_request(body).body for _ in range(10)}) == 1


@pytest.mark.parametrize(
    ("body", "model"), [({"model": "gpt-4o"}, "gpt-4o"), ({}, ""), ({"model": 5}, "")]
)
def test_model_is_read(body, model):
    assert CHAT.read_request(json.dumps(body).encode()).model == model


def user(content: object) -> list[object]:
    return [{"role": "user", "content": content}]


def text(value: object) -> dict[str, object]:
    return {"type": "text", "text": value}


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        pytest.param({}, None, id="nil struct"),
        pytest.param({"messages": []}, None, id="no messages"),
        pytest.param(
            {"messages": [*user("x"), {"role": "assistant", "content": "y"}]},
            None,
            id="last message not from user",
        ),
        pytest.param(
            {"messages": user("Hello, world!")}, "Hello, world!", id="string content"
        ),
        pytest.param({"messages": user("")}, None, id="empty string"),
        pytest.param(
            {"messages": user([IMAGE, text("First text"), IMAGE, text("Last text")])},
            "Last text",
            id="array content - text at end",
        ),
        pytest.param({"messages": user([IMAGE])}, None, id="array content - no text"),
        pytest.param({"messages": user([])}, None, id="array content - empty array"),
        pytest.param(
            {"messages": [*user("x"), {"role": "developer", "content": "y"}]},
            "x",
            id="trailing developer message",
        ),
        pytest.param(
            {
                "messages": user(
                    [text("x"), text("<system-reminder>y</system-reminder>")]
                )
            },
            "x",
            id="trailing reminder",
        ),
        pytest.param({"messages": "x"}, None, id="messages wrong type"),
    ],
)
def test_last_user_prompt(fields, prompt):
    assert CHAT.read_request(request(**fields)).prompt == prompt


def tool(call_id: object) -> dict[str, object]:
    return {"role": "tool", "tool_call_id": call_id, "content": "ok"}


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        pytest.param([], None, id="no messages"),
        pytest.param(user("x"), None, id="no tool messages"),
        pytest.param([*user("x"), tool("call_abc")], "call_abc", id="last tool"),
        pytest.param(
            [tool("call_first"), tool("call_second")], "call_second", id="several"
        ),
        pytest.param(
            [tool("call_abc"), {"role": "assistant", "content": "x"}],
            None,
            id="last assistant",
        ),
        pytest.param([tool("")], None, id="empty id"),
        pytest.param([tool(3)], None, id="id of a wrong type"),
    ],
)
def test_correlating_tool_call_id(messages, found):
    read_request = CHAT.read_request(request(messages=messages))
    assert read_request.correlating_tool_call_id == found

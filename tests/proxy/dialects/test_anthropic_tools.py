"""Tools the gateway runs, in Messages bodies and streams."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects.anthropic_tools import (
    AnthropicTooling,
    ToolChoiceError,
    disable_parallel_tool_calls,
    result_blocks,
)
from proxy.dialects.base import ToolCall
from proxy.dialects.tooling import OfferedTool, Output, ToolOutcome, ToolsRefused

TOOLING = AnthropicTooling()
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
TOOLS = [OfferedTool("bmcp_a", "First.", SCHEMA), OfferedTool("bmcp_b", "Second.", {})]
INJECTED = {"bmcp_a", "bmcp_b"}
CACHED = {"name": "mine", "cache_control": {"type": "ephemeral"}}


def offered(body: Any, tools=TOOLS) -> dict[str, Any]:
    raw = json.dumps(body).encode()
    return json.loads(TOOLING.offer(raw, body, tools))


# Offering


def test_injected_tools_come_first():
    body = offered({"tools": [CACHED]})
    assert [tool["name"] for tool in body["tools"]] == ["bmcp_a", "bmcp_b", "mine"]
    assert body["tools"][2] == CACHED


def test_schema_of_an_injected_tool():
    assert offered({})["tools"][0] == {
        "type": "custom",
        "name": "bmcp_a",
        "description": "First.",
        "input_schema": {
            "type": "object",
            "properties": {"q": {"type": "string"}},
            "required": ["q"],
        },
    }


def test_no_tools_to_inject_leaves_the_bytes():
    body = b'{ "tools": [] }'
    assert TOOLING.offer(body, {"tools": []}, []) is body


def test_injected_tool_has_no_cache_breakpoint():
    assert all("cache_control" not in tool for tool in offered({})["tools"])


def test_breakpoint_on_the_first_of_two_tools_stays():
    body = offered({"tools": [CACHED, {"name": "other"}]})
    assert body["tools"][2:] == [CACHED, {"name": "other"}]


def test_client_bytes_around_the_tools_survive():
    body = b'{"temperature": 1.0,"tools":[ {"name":"mine", "x":1e3} ],"n":1e2}'
    edited = TOOLING.offer(body, json.loads(body), TOOLS[:1])
    assert edited.startswith(b'{"temperature": 1.0,"tools":[{"type":"custom"')
    assert b', {"name":"mine", "x":1e3} ],"n":1e2' in edited


def test_a_tool_of_the_same_name_stays_the_clients():
    body = offered({"tools": [{"name": "bmcp_a", "mine": True}]})
    assert [tool["name"] for tool in body["tools"]] == ["bmcp_b", "bmcp_a"]


def test_wrong_type_of_tools_is_refused():
    with pytest.raises(ToolsRefused, match="unsupported 'tools' type: String"):
        offered({"tools": "bad"})


def test_the_same_request_becomes_the_same_bytes():
    body = {"model": "m", "tools": [CACHED]}
    raw = json.dumps(body).encode()
    assert len({TOOLING.offer(raw, body, TOOLS) for _ in range(10)}) == 1


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "auto"}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "any"}, {"type": "any", "disable_parallel_tool_use": True}),
        (
            {"type": "tool", "name": "abc"},
            {"type": "tool", "name": "abc", "disable_parallel_tool_use": True},
        ),
        ({"type": "none"}, None),
        ({}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"type": "auto", "disable_parallel_tool_use": False},
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_parallel_calls_are_disabled(choice: Any, expected: Any):
    assert disable_parallel_tool_calls(choice) == expected


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("auto", "unsupported tool_choice type"),
        ({"type": 123}, "unsupported tool_choice.type type"),
        ({"type": "unknown"}, "unsupported tool_choice.type value"),
    ],
)
def test_unknown_tool_choice_is_left_alone(choice: Any, message: str):
    with pytest.raises(ToolChoiceError, match=message):
        disable_parallel_tool_calls(choice)
    body = offered({"tool_choice": choice})
    assert body["tool_choice"] == choice
    assert len(body["tools"]) == 2


def test_tool_choice_none_still_gets_tools():
    body = offered({"tool_choice": {"type": "none"}})
    assert body["tool_choice"] == {"type": "none"}
    assert len(body["tools"]) == 2


# The next turn


def test_next_turn_repeats_the_output_and_adds_results():
    body = b'{"messages":[{"role":"user","content":"hello"}],"n":1.0}'
    said = [{"type": "text", "text": "One moment."}]
    call = ToolCall("toolu_123", "bmcp_a")
    result = {"content": [{"type": "text", "text": "42"}]}
    edited = TOOLING.extend(body, Output(said), [ToolOutcome(call, result)])
    assert edited.endswith(b',"n":1.0}')
    messages = json.loads(edited)["messages"]
    assert messages == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": said},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_123",
                    "content": [{"type": "text", "text": "42"}],
                    "is_error": False,
                }
            ],
        },
    ]


def test_results_of_one_turn_share_a_message():
    outcomes = [
        ToolOutcome(ToolCall("t1", "bmcp_a"), {"content": []}),
        ToolOutcome(ToolCall("t2", "bmcp_b"), error="it is gone"),
    ]
    edited = TOOLING.extend(b'{"messages":[]}', Output([]), outcomes)
    last = json.loads(edited)["messages"][-1]["content"]
    assert [block["tool_use_id"] for block in last] == ["t1", "t2"]
    assert last[1]["is_error"] is True
    assert last[1]["content"][0]["text"] == "Error: calling tool: it is gone"


RESOURCE = {"mimeType": "text/plain", "uri": "file:///x"}


@pytest.mark.parametrize(
    ("content", "text", "failed"),
    [
        ([{"type": "text", "text": "hello"}], "hello", False),
        ([{"type": "text", "text": ""}], "(empty)", False),
        (
            [{"type": "resource", "resource": {**RESOURCE, "text": "body"}}],
            "Binary resource (MIME: text/plain, URI: file:///x): body",
            False,
        ),
        (
            [{"type": "resource", "resource": {**RESOURCE, "blob": "aGk="}}],
            "Binary resource (MIME: text/plain, URI: file:///x): aGk=",
            False,
        ),
        (
            [{"type": "resource", "resource": RESOURCE}],
            "Error: unknown embedded resource type",
            True,
        ),
        ([{"type": "image", "data": ""}], "Error: unsupported tool result type", True),
        ([{"type": "audio", "data": ""}], "Error: unsupported tool result type", True),
        ([], "Error: no valid tool result content", True),
    ],
)
def test_result_becomes_blocks(content: list[Any], text: str, failed: bool):
    blocks, is_error = result_blocks({"content": content, "isError": False})
    assert [block["text"] for block in blocks] == [text]
    assert is_error is failed


def test_result_that_the_tool_calls_an_error_is_none():
    blocks, is_error = result_blocks(
        {"content": [{"type": "text", "text": "nope"}], "isError": True}
    )
    assert (blocks[0]["text"], is_error) == ("nope", False)


# Whole answers

TEXT = {"type": "text", "text": "One moment."}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "bmcp_a", "input": {"q": "x"}}
OWN_CALL = {"type": "tool_use", "id": "toolu_2", "name": "read_file", "input": {}}
THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "s"}


def answer(*blocks: dict[str, Any], stop_reason: str = "tool_use") -> bytes:
    usage = {"input_tokens": 10, "output_tokens": 5, "service_tier": "standard"}
    message = {"id": "msg_1", "content": blocks, "stop_reason": stop_reason}
    return json.dumps(message | {"usage": usage}).encode()


def test_answer_with_an_injected_call_continues():
    output = TOOLING.read_output(answer(THINKING, TEXT, CALL), INJECTED)
    assert output.continues
    assert output.items == [THINKING, TEXT, CALL]
    assert [(call.id, call.arguments) for call in output.calls] == [
        ("toolu_1", '{"q":"x"}')
    ]


@pytest.mark.parametrize(
    ("blocks", "stop_reason"),
    [
        ((TEXT,), "end_turn"),
        ((TEXT, OWN_CALL), "tool_use"),
        ((CALL, OWN_CALL), "tool_use"),
        ((CALL,), "max_tokens"),
    ],
)
def test_other_answers_are_final(blocks: tuple[Any, ...], stop_reason: str):
    raw = answer(*blocks, stop_reason=stop_reason)
    assert not TOOLING.read_output(raw, INJECTED).continues


def test_empty_text_is_not_repeated():
    empty = {"type": "text", "text": ""}
    assert TOOLING.read_output(answer(empty, CALL), INJECTED).items == [CALL]


def test_injected_calls_are_concealed():
    body = TOOLING.conceal(answer(TEXT, CALL, OWN_CALL), INJECTED)
    assert json.loads(body)["content"] == [TEXT, OWN_CALL]


def test_composed_answer_has_its_own_id_and_summed_usage():
    first = {"input_tokens": 7, "output_tokens": 3, "cache_creation": {"a": 1}}
    last = {"input_tokens": 10, "output_tokens": 5, "service_tier": "standard"}
    body = json.loads(TOOLING.compose(answer(TEXT), "own-id", [first, last]))
    assert body["id"] == "own-id"
    assert body["usage"] == {
        "input_tokens": 17,
        "output_tokens": 8,
        "cache_creation": {"a": 1},
        "service_tier": "standard",
    }


# Streams


def event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def stream(*blocks: dict[str, Any], stop_reason: str = "tool_use", output=5) -> bytes:
    """Return a stream of blocks, the way upstream sends them."""
    message = {"id": "msg_up", "content": [], "usage": {"input_tokens": 10}}
    parts = [event("message_start", message=message)]
    for index, block in enumerate(blocks):
        parts += block_events(index, block)
    parts.append(
        event(
            "message_delta",
            delta={"stop_reason": stop_reason},
            usage={"output_tokens": output},
        )
    )
    return b"".join([*parts, event("message_stop")])


def block_events(index: int, block: dict[str, Any]) -> list[bytes]:
    start, deltas = dict(block), []
    if block["type"] == "tool_use":
        text = json.dumps(block["input"])
        start["input"] = {}
        deltas = [
            {"type": "input_json_delta", "partial_json": part}
            for part in ("", text[:3], text[3:])
        ]
    elif block["type"] == "text":
        start["text"] = ""
        deltas = [{"type": "text_delta", "text": block["text"]}]
    elif block["type"] == "thinking":
        start |= {"thinking": "", "signature": ""}
        deltas = [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    return [
        event("content_block_start", index=index, content_block=start),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def events_of(raw: bytes) -> list[dict[str, Any]]:
    return [
        json.loads(part.split(b"data: ", 1)[1])
        for part in raw.split(b"\n\n")
        if part.strip()
    ]


def shape(raw: bytes) -> list[tuple[str, Any]]:
    return [(e["type"], e.get("index")) for e in events_of(raw)]


def woven(*turns: bytes, size: int = 10_000) -> tuple[bytes, Any]:
    weaver = TOOLING.weaver(INJECTED, "own-id")
    out = b""
    for turn in turns:
        weaver.begin_turn()
        for at in range(0, len(turn), size):
            out += weaver.feed(turn[at : at + size])
        assert weaver.ended
    return out + weaver.ending(), weaver


def test_single_turn_passes_but_for_its_id():
    raw = stream(THINKING, TEXT, OWN_CALL)
    out, weaver = woven(raw)
    assert out == raw.replace(b"msg_up", b"own-id")
    assert weaver.output.items == [THINKING, TEXT, OWN_CALL]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_two_turns_become_one_message(size: int):
    out, _ = woven(
        stream(THINKING, TEXT, CALL), stream(TEXT, stop_reason="end_turn"), size=size
    )
    assert shape(out) == [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        ("content_block_delta", 2),
        ("content_block_stop", 2),
        ("message_delta", None),
        ("message_stop", None),
    ]
    events = events_of(out)
    assert events[0]["message"]["id"] == "own-id"
    assert events[-2]["usage"] == {"input_tokens": 20, "output_tokens": 10}
    assert events[-2]["delta"]["stop_reason"] == "end_turn"


def test_what_was_said_is_collected_for_the_next_turn():
    weaver = TOOLING.weaver(INJECTED, "own-id")
    weaver.begin_turn()
    weaver.feed(stream(THINKING, TEXT, CALL))
    assert weaver.output.items == [THINKING, TEXT, CALL]
    assert weaver.output.continues
    assert json.loads(weaver.output.calls[0].arguments) == {"q": "x"}


def test_the_clients_call_goes_out_beside_a_hidden_one():
    out, weaver = woven(stream(CALL, OWN_CALL))
    assert not weaver.output.continues
    starts = [e for e in events_of(out) if e["type"] == "content_block_start"]
    assert [(e["index"], e["content_block"]["name"]) for e in starts] == [
        (0, "read_file")
    ]
    assert shape(out)[-2:] == [("message_delta", None), ("message_stop", None)]


def test_error_event_ends_the_stream():
    error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    raw = stream(TEXT, CALL).partition(b"event: message_delta")[0] + error
    out, weaver = woven(raw)
    assert out.endswith(error)
    assert not weaver.output.continues


def test_unknown_events_and_pings_pass():
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    new = b'event: brand_new\ndata: {"type":"brand_new","x":1.0}\n\n'
    weaver = TOOLING.weaver(INJECTED, "own-id")
    weaver.begin_turn()
    assert weaver.feed(ping + new) == ping + new


def test_citations_are_collected():
    start = event(
        "content_block_start", index=0, content_block={"type": "text", "text": ""}
    )
    delta = {"type": "citations_delta", "citation": {"cited_text": "x"}}
    weaver = TOOLING.weaver(INJECTED, "own-id")
    weaver.begin_turn()
    weaver.feed(start)
    weaver.feed(event("content_block_delta", index=0, delta=delta))
    more = {"type": "text_delta", "text": "T"}
    weaver.feed(event("content_block_delta", index=0, delta=more))
    weaver.feed(event("content_block_stop", index=0))
    assert weaver.output.items == [
        {"type": "text", "text": "T", "citations": [{"cited_text": "x"}]}
    ]

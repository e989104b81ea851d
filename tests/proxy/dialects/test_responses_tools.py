"""Tools the gateway runs, in Responses bodies and streams."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects.base import ToolCall
from proxy.dialects.responses_tools import (
    ResponsesTooling,
    append_input,
    repeated_items,
)
from proxy.dialects.tooling import OfferedTool, Output, ToolOutcome, ToolsRefused

TOOLING = ResponsesTooling()
TOOLS = [OfferedTool("bmcp_a", "First.", {}), OfferedTool("bmcp_b", "Second.", {})]
INJECTED = {"bmcp_a", "bmcp_b"}
OWN = {"type": "function", "name": "existing"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "42"}


def offered(body: Any, tools=TOOLS) -> dict[str, Any]:
    return json.loads(TOOLING.offer(json.dumps(body).encode(), body, tools))


# Offering


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"tools": [OWN]}, ["existing", "bmcp_a", "bmcp_b"]),
        ({}, ["bmcp_a", "bmcp_b"]),
        ({"tools": []}, ["bmcp_a", "bmcp_b"]),
        ({"tools": None}, ["bmcp_a", "bmcp_b"]),
    ],
    ids=["appended", "none before", "empty before", "null before"],
)
def test_injected_tools_come_last(body: Any, names: list[str]):
    edited = offered(body)
    assert [tool["name"] for tool in edited["tools"]] == names
    assert edited["tools"][-1] == {
        "type": "function",
        "name": "bmcp_b",
        "description": "Second.",
        "strict": False,
        "parameters": {"type": "object", "properties": {}},
    }


def test_nothing_to_inject_leaves_the_bytes():
    body = b'{"tools" : [] }'
    assert TOOLING.offer(body, {"tools": []}, []) is body


def test_wrong_type_of_tools_is_refused():
    with pytest.raises(
        ToolsRefused,
        match="failed to get existing tools: unsupported 'tools' type: String",
    ):
        offered({"tools": "bad"})


@pytest.mark.parametrize("own", [{}, {"tools": [OWN]}], ids=["no tools", "own tools"])
@pytest.mark.parametrize("asked", [True, False, None])
def test_parallel_calls_are_disabled_with_injected_tools(own: Any, asked: Any):
    body = own | ({} if asked is None else {"parallel_tool_calls": asked})
    assert offered(body)["parallel_tool_calls"] is False


# The next turn


@pytest.mark.parametrize(
    ("given", "before"),
    [
        ({"input": "hello"}, [{"role": "user", "content": "hello"}]),
        ({"input": [{"role": "user", "content": "a"}]}, None),
        ({}, []),
        ({"input": None}, []),
    ],
    ids=["string", "list", "missing", "null"],
)
def test_items_follow_the_input(given: dict[str, Any], before: Any):
    edited = json.loads(append_input(json.dumps(given).encode(), [RESULT]))
    expected = given.get("input") if before is None else before
    assert edited["input"] == [*expected, RESULT]


def test_text_input_keeps_its_escapes():
    edited = append_input(b'{"input":"a\\u00e9\\n\\"b\\""}', [RESULT])
    assert b'[{"role":"user","content":"a\\u00e9\\n\\"b\\""},' in edited


def test_input_of_another_type_is_refused():
    with pytest.raises(
        ToolsRefused,
        match="failed to get existing 'input' items: unsupported 'input' type: Number",
    ):
        append_input(b'{"input":123}', [RESULT])


def test_no_items_leave_the_bytes():
    body = b'{"input": "x"}'
    assert append_input(body, []) is body


def test_chained_rewrites_stay_json():
    body = b'{"input":"x"}'
    for _ in range(3):
        body = append_input(body, [RESULT])
    assert len(json.loads(body)["input"]) == 4


ITEMS = [
    {"type": "compaction", "id": "cmp_1"},
    {"type": "message", "id": "msg_123"},
    {"type": "file_search_call", "id": "fs_123"},
    {"type": "image_generation_call", "id": "img_123"},
]


def test_output_items_are_repeated_in_order():
    assert repeated_items([*ITEMS, {"type": "brand_new"}], stored=True) == ITEMS


def test_reasoning_that_is_stored_nowhere_is_repeated_only_whole():
    bare = {"type": "reasoning", "id": "rs_1", "summary": []}
    whole = {**bare, "encrypted_content": "x"}
    assert repeated_items([bare, whole], stored=False) == [whole]
    assert repeated_items([bare, whole], stored=True) == [bare, whole]


def test_next_turn_has_output_and_results():
    call = {"type": "function_call", "call_id": "c1", "name": "bmcp_a", "id": "fc_1"}
    outcomes = [
        ToolOutcome(ToolCall("c1", "bmcp_a"), {"content": [], "isError": False}),
        ToolOutcome(ToolCall("c2", "bmcp_b"), error='it is "gone"'),
    ]
    body = TOOLING.extend(b'{"input":"x"}', Output([call]), outcomes)
    items = json.loads(body)["input"]
    assert items[1] == call
    assert json.loads(items[2]["output"]) == {"content": [], "isError": False}
    assert items[3]["output"] == 'invocation error: "it is \\"gone\\""'
    assert items[3]["call_id"] == "c2"


def test_a_conversation_is_only_told_the_results():
    call = {"type": "function_call", "call_id": "c1", "name": "bmcp_a"}
    outcome = ToolOutcome(ToolCall("c1", "bmcp_a"), {"content": []})
    body = b'{"conversation":"conv_1","input":"x"}'
    items = json.loads(TOOLING.extend(body, Output([call]), [outcome]))["input"]
    assert [item["type"] for item in items] == ["function_call_output"]


# Whole answers

MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


def function_call(name: str, call_id: str = "c1") -> dict[str, Any]:
    item = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id}
    return item | {"name": name, "arguments": '{"q":"x"}', "status": "completed"}


def response(*items: dict[str, Any], status: str = "completed", tokens=5, **fields):
    usage = {"input_tokens": 10, "output_tokens": tokens, "total_tokens": 10 + tokens}
    return {
        "id": "resp_up",
        "status": status,
        "output": list(items),
        "usage": usage,
    } | fields


@pytest.mark.parametrize(
    ("items", "status", "continues"),
    [
        ([REASONING, function_call("bmcp_a")], "completed", True),
        ([function_call("bmcp_a"), function_call("bmcp_b", "c2")], "completed", True),
        ([function_call("mine")], "completed", False),
        ([function_call("bmcp_a"), function_call("mine", "c2")], "completed", False),
        ([function_call("bmcp_a")], "incomplete", False),
        ([MESSAGE], "completed", False),
    ],
)
def test_only_injected_calls_continue(items: Any, status: str, continues: bool):
    body = json.dumps(response(*items, status=status)).encode()
    assert TOOLING.read_output(body, INJECTED).continues is continues


def test_injected_calls_are_concealed():
    body = json.dumps(response(function_call("bmcp_a"), MESSAGE)).encode()
    assert json.loads(TOOLING.conceal(body, INJECTED))["output"] == [MESSAGE]


def test_composed_answer_keeps_its_id_and_sums_usage():
    body = json.dumps(response(MESSAGE)).encode()
    usage = response()["usage"]
    composed = json.loads(TOOLING.compose(body, "own-id", [usage, usage]))
    assert composed["id"] == "resp_up"
    assert composed["usage"]["total_tokens"] == 30


# Streams


def event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def stream(*items: dict[str, Any], tokens: int = 5) -> bytes:
    head = {"id": "resp_up", "output": []}
    parts = [event("response.created", response=head)]
    for index, item in enumerate(items):
        parts.append(event("response.output_item.added", output_index=index, item=item))
        delta = {"output_index": index, "delta": "x", "item_id": item["id"]}
        parts.append(event("response.function_call_arguments.delta", **delta))
        parts.append(event("response.output_item.done", output_index=index, item=item))
    done = response(*items, tokens=tokens)
    return b"".join([*parts, event("response.completed", response=done)])


def woven(*turns: bytes, size: int = 10_000) -> tuple[bytes, Any]:
    weaver = TOOLING.weaver(INJECTED, "own-id")
    for turn in turns:
        weaver.begin_turn()
        for at in range(0, len(turn), size):
            assert weaver.feed(turn[at : at + size]) == b""
        assert weaver.ended
    return weaver.ending(), weaver


def events_of(raw: bytes) -> list[dict[str, Any]]:
    return [
        json.loads(part.split(b"data: ", 1)[1])
        for part in raw.split(b"\n\n")
        if part.strip()
    ]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_single_turn_passes_unchanged(size: int):
    raw = stream(REASONING, MESSAGE, function_call("mine"))
    out, _ = woven(raw, size=size)
    assert out == raw


def test_last_turn_alone_is_seen_with_the_sum():
    last = stream(MESSAGE, tokens=7)
    out, _ = woven(stream(REASONING, function_call("bmcp_a")), last)
    assert out.startswith(last.partition(b"event: response.completed")[0])
    usage = events_of(out)[-1]["response"]["usage"]
    assert usage == {"input_tokens": 20, "output_tokens": 12, "total_tokens": 32}


def test_the_clients_call_goes_out_beside_a_hidden_one():
    mine = function_call("mine", "c2")
    out, weaver = woven(stream(REASONING, function_call("bmcp_a"), mine))
    assert not weaver.output.continues
    assert b"bmcp_a" not in out
    events = events_of(out)
    indexes = [e["output_index"] for e in events if "output_index" in e]
    assert indexes == [0, 0, 0, 1, 1, 1]
    assert events[-1]["response"]["output"] == [REASONING, mine]


def test_items_count_when_the_last_event_leaves_them_out():
    call = function_call("bmcp_a")
    raw = event("response.output_item.done", output_index=0, item=call)
    raw += event("response.completed", response=response())
    weaver = TOOLING.weaver(INJECTED, "own-id")
    weaver.begin_turn()
    weaver.feed(raw)
    assert weaver.output.continues
    assert weaver.output.items == [call]


@pytest.mark.parametrize(
    "last",
    [
        event("response.failed", response={"status": "failed", "error": {}}),
        event("error", message="x"),
        event("response.incomplete", response=response(status="incomplete")),
    ],
)
def test_turn_that_fails_is_final(last: bytes):
    call = function_call("bmcp_a")
    raw = event("response.output_item.done", output_index=0, item=call) + last
    out, weaver = woven(raw)
    assert weaver.ended
    assert not weaver.output.continues
    assert b"bmcp_a" not in out

"""Tools the gateway runs, in Chat Completions bodies and streams."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects.base import ToolCall
from proxy.dialects.chat_tools import ChatTooling
from proxy.dialects.tooling import OfferedTool, Output, ToolOutcome, ToolsRefused

TOOLING = ChatTooling()
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
TOOLS = [OfferedTool("bmcp_a", "First.", SCHEMA), OfferedTool("bmcp_b", "Second.", {})]
INJECTED = {"bmcp_a", "bmcp_b"}
OWN = {"type": "function", "function": {"name": "mine"}}


def offered(body: Any, tools=TOOLS) -> dict[str, Any]:
    return json.loads(TOOLING.offer(json.dumps(body).encode(), body, tools))


def call(call_id: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


# Offering


def test_injected_tools_come_last():
    tools = offered({"tools": [OWN]})["tools"]
    assert [t["function"]["name"] for t in tools] == ["mine", "bmcp_a", "bmcp_b"]
    assert tools[1] == {
        "type": "function",
        "function": {
            "name": "bmcp_a",
            "description": "First.",
            "strict": False,
            "parameters": {
                "type": "object",
                "properties": {"q": {"type": "string"}},
                "required": ["q"],
            },
        },
    }
    assert "required" not in tools[2]["function"]["parameters"]


@pytest.mark.parametrize("own", [{}, {"tools": [OWN]}], ids=["no tools", "own tools"])
@pytest.mark.parametrize("asked", [True, False, None])
def test_parallel_calls_are_disabled_with_injected_tools(own: Any, asked: Any):
    body = own | ({} if asked is None else {"parallel_tool_calls": asked})
    assert offered(body)["parallel_tool_calls"] is False


@pytest.mark.parametrize("asked", [True, False, None])
def test_parallel_calls_stay_without_injected_tools(asked: Any):
    body = {} if asked is None else {"parallel_tool_calls": asked}
    assert offered(body, []) == body


def test_one_choice_only():
    assert offered({"n": 3})["n"] == 1
    assert "n" not in offered({})


def test_wrong_type_of_tools_is_refused():
    with pytest.raises(ToolsRefused):
        offered({"tools": {}})


def test_the_same_request_becomes_the_same_bytes():
    body = {"model": "m", "tools": [OWN]}
    raw = json.dumps(body).encode()
    assert len({TOOLING.offer(raw, body, TOOLS) for _ in range(10)}) == 1


# The next turn


def test_next_turn_repeats_the_message_and_adds_results():
    said = {"role": "assistant", "content": None, "tool_calls": [call("c1", "bmcp_a")]}
    result = {"content": [{"type": "text", "text": "42"}], "isError": False}
    outcomes = [
        ToolOutcome(ToolCall("c1", "bmcp_a"), {**result, "_meta": {}}),
        ToolOutcome(ToolCall("c2", "bmcp_b"), error="it is gone"),
    ]
    body = b'{"messages":[{"role":"user","content":"hi"}],"temperature":1.0}'
    edited = TOOLING.extend(body, Output([said]), outcomes)
    assert edited.endswith(b'"temperature":1.0}')
    messages = json.loads(edited)["messages"]
    assert messages[1] == said
    assert messages[2]["tool_call_id"] == "c1"
    assert messages[2]["content"].endswith("\n")
    assert json.loads(messages[2]["content"]) == result
    assert json.loads(messages[3]["content"]) == {
        "error": True,
        "message": "it is gone",
    }


# Whole answers


def answer(message: dict[str, Any], finish: str = "tool_calls") -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "details": {"cached": 2}}
    return json.dumps({"id": "c", "choices": [choice], "usage": usage}).encode()


@pytest.mark.parametrize(
    ("calls", "finish", "continues"),
    [
        (["bmcp_a"], "tool_calls", True),
        (["bmcp_a", "bmcp_b"], "tool_calls", True),
        (["mine"], "tool_calls", False),
        (["bmcp_a", "mine"], "tool_calls", False),
        (["bmcp_a"], "length", False),
        ([], "stop", False),
        (["bmcp_a"], "stop", True),
    ],
)
def test_only_injected_calls_continue(calls: list[str], finish: str, continues: bool):
    message = {"tool_calls": [call(f"c-{name}", name) for name in calls]}
    output = TOOLING.read_output(answer(message, finish), INJECTED)
    assert output.continues is continues


def test_injected_calls_are_concealed():
    both = [call("c1", "bmcp_a"), call("c2", "mine")]
    body = TOOLING.conceal(answer({"content": "x", "tool_calls": both}), INJECTED)
    (choice,) = json.loads(body)["choices"]
    assert choice["message"] == {"content": "x", "tool_calls": [call("c2", "mine")]}
    body = TOOLING.conceal(answer({"content": "x", "tool_calls": both[:1]}), INJECTED)
    assert json.loads(body)["choices"][0]["message"] == {"content": "x"}


def test_composed_answer_has_its_own_id_and_summed_usage():
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "details": {"cached": 2}}
    body = json.loads(TOOLING.compose(answer({}), "own-id", [usage, usage]))
    assert body["id"] == "own-id"
    assert body["usage"] == {
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "details": {"cached": 4},
    }


# Streams


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields):
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    if "usage" in fields:
        choices = []
    data = {"id": "chatcmpl-up", "created": 1.0, "choices": choices, **fields}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def stream(text: str = "", calls: tuple = (), finish: str = "stop", usage=5) -> bytes:
    parts = [chunk({"role": "assistant", "content": "" if text else None})]
    parts += [chunk({"content": piece}) for piece in (text[:3], text[3:]) if piece]
    for index, (call_id, name, arguments) in enumerate(calls):
        first = {"index": index, **call(call_id, name, "")}
        parts.append(chunk({"tool_calls": [first]}))
        for piece in (arguments[:2], arguments[2:]):
            more = {"index": index, "function": {"arguments": piece}}
            parts.append(chunk({"tool_calls": [more]}))
    parts.append(chunk(finish=finish))
    parts.append(chunk(usage={"prompt_tokens": 10, "completion_tokens": usage}))
    return b"".join([*parts, DONE])


def chunks_of(raw: bytes) -> list[dict[str, Any]]:
    parts = [part[6:] for part in raw.split(b"\n\n") if part.startswith(b"data: {")]
    return [json.loads(part) for part in parts]


def woven(*turns: bytes, size: int = 10_000) -> tuple[bytes, Any]:
    weaver = TOOLING.weaver(INJECTED, "own-id")
    out = b""
    for turn in turns:
        weaver.begin_turn()
        for at in range(0, len(turn), size):
            out += weaver.feed(turn[at : at + size])
        assert weaver.ended
    return out + weaver.ending(), weaver


def joined(raw: bytes) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks_of(raw)
        for choice in chunk["choices"]
    )


def test_single_turn_passes_but_for_its_id():
    raw = stream("Hello there", (("c1", "mine", '{"a":1}'),), "tool_calls")
    out, weaver = woven(raw)
    assert out == raw.replace(b"chatcmpl-up", b"own-id")
    assert weaver.output.items[0]["tool_calls"] == [call("c1", "mine", '{"a":1}')]


TOOL_TURN = stream("One moment.", (("c1", "bmcp_a", '{"q":"x"}'),), "tool_calls", 45)


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_two_turns_become_one_answer(size: int):
    out, _ = woven(TOOL_TURN, stream("Done.", usage=60), size=size)
    assert joined(out) == "One moment.Done."
    chunks = chunks_of(out)
    assert {c["id"] for c in chunks} == {"own-id"}
    usages = [c["usage"] for c in chunks if c.get("usage")]
    assert usages == [{"prompt_tokens": 20, "completion_tokens": 105}]
    roles = [c["choices"][0]["delta"].get("role") for c in chunks if c["choices"]]
    assert roles.count("assistant") == 1
    assert b"tool_calls" not in out
    assert out.count(b"[DONE]") == 1
    assert out.endswith(DONE)


def test_what_was_said_is_collected_for_the_next_turn():
    weaver = TOOLING.weaver(INJECTED, "own-id")
    weaver.begin_turn()
    weaver.feed(TOOL_TURN)
    assert weaver.output.continues
    assert weaver.output.items == [
        {
            "role": "assistant",
            "content": "One moment.",
            "tool_calls": [call("c1", "bmcp_a", '{"q":"x"}')],
        }
    ]


def test_reasoning_and_signatures_are_collected():
    weaver = TOOLING.weaver(INJECTED, "own-id")
    weaver.begin_turn()
    weaver.feed(chunk({"reasoning_content": "Hm", "content": None}))
    weaver.feed(chunk({"reasoning_content": "m."}))
    first = {"index": 0, **call("c1", "bmcp_a", "{}"), "extra_content": {"sig": "s"}}
    weaver.feed(chunk({"tool_calls": [first]}))
    weaver.feed(chunk(finish="tool_calls"))
    (message,) = weaver.output.items
    assert message["reasoning_content"] == "Hmm."
    assert message["tool_calls"][0]["extra_content"] == {"sig": "s"}


def test_the_clients_call_goes_out_beside_a_hidden_one():
    calls = (("c1", "bmcp_a", "{}"), ("c2", "mine", "{}"))
    out, weaver = woven(stream(calls=calls, finish="tool_calls"))
    assert not weaver.output.continues
    entries = [
        entry
        for c in chunks_of(out)
        for choice in c["choices"]
        for entry in choice["delta"].get("tool_calls", ())
    ]
    assert {entry["index"] for entry in entries} == {0}
    assert entries[0]["id"] == "c2"
    assert b"bmcp_a" not in out


def test_error_chunk_ends_the_stream():
    error = b'data: {"error":{"message":"Overloaded"}}\n\n'
    out, weaver = woven(chunk({"content": "x"}) + error)
    assert out.endswith(error)
    assert not weaver.output.continues


def test_comments_and_first_chunks_without_choices_pass():
    comment = b": keep-alive\n\n"
    first = b'data: {"id":"","choices":[],"prompt_filter_results":[1.0]}\n\n'
    weaver = TOOLING.weaver(INJECTED, "own-id")
    weaver.begin_turn()
    out = weaver.feed(comment + first)
    assert out == comment + first.replace(b'"id":""', b'"id":"own-id"')


def test_stream_without_done_is_read_to_its_reason():
    weaver = TOOLING.weaver(INJECTED, "own-id")
    weaver.begin_turn()
    weaver.feed(TOOL_TURN.removesuffix(DONE))
    assert weaver.output.continues

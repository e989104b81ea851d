"""The inner agentic loop by itself: what it offers, runs, records and refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from proxy import dialects
from proxy.dialects.base import ToolCall, Turn
from proxy.dialects.tooling import Output
from proxy.mcp import McpClient, McpError, McpTool
from proxy.tools import (
    LEFT,
    ToolLoop,
    ToolsTookTooLong,
    TooManyTools,
    TooManyTurns,
    prepare,
)
from proxy.toolsets import ServerConfig, ToolSet, merge


class FakeServer(McpClient):
    """A server whose tools do what their names say."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, float]] = []

    def call_tool(self, name: str, arguments: Any, *, timeout: Any = None) -> Any:
        self.calls.append((name, arguments, timeout))
        if name == "sleep":
            gevent.sleep(arguments["seconds"])
        if name == "refuse":
            raise McpError("it is gone")
        if name == "crash":
            raise RuntimeError("secret detail")
        return {"content": [{"type": "text", "text": name}]}


class Notebook:
    """Remembers what was recorded."""

    def __init__(self) -> None:
        self.facts: list[dict[str, Any]] = []

    def injected_tool(self, **facts: Any) -> None:
        self.facts.append(facts)


NAMES = ("sleep", "echo", "refuse", "crash")
SERVER = ServerConfig("s", "http://127.0.0.1:1/mcp?key=secret")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def tools(server: FakeServer) -> ToolSet:
    return merge([(SERVER, server, [McpTool(name) for name in NAMES])])


@pytest.fixture
def loop(tools: ToolSet) -> ToolLoop:
    found = prepared(tools, {"messages": []})
    assert found is not None
    return found


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


def prepared(
    tools: ToolSet, body: dict[str, Any], dialect: str = "anthropic_messages"
) -> ToolLoop | None:
    shape = dialects.get(dialect)
    return prepare(shape, shape.read_request(json.dumps(body).encode()), tools)


def wanting(*calls: tuple[str, Any], **fields: Any) -> Output:
    return Output(
        calls=[
            ToolCall(f"call_{n}", f"bmcp_s_{name}", json.dumps(arguments))
            for n, (name, arguments) in enumerate(calls)
        ],
        **fields,
    )


def ignore(abort: Callable[[], None]) -> None:
    pass


# Which requests get tools


def test_no_tools_no_loop():
    assert prepared(ToolSet(), {}) is None


def test_body_has_the_tools(loop: ToolLoop):
    names = [tool["name"] for tool in json.loads(loop.body)["tools"]]
    assert names == ["bmcp_s_crash", "bmcp_s_echo", "bmcp_s_refuse", "bmcp_s_sleep"]


@pytest.mark.parametrize(
    ("body", "gets"),
    [
        ({"model": "claude-haiku-4-5", "stream": True}, False),
        ({"model": "claude-haiku-4-5"}, True),
        ({"model": "claude-opus-4-5", "stream": True}, True),
    ],
)
def test_streamed_requests_of_small_models_get_none(tools, body, gets: bool):
    assert (prepared(tools, body) is not None) is gets


def test_client_that_has_all_names_gets_none(tools: ToolSet):
    own = [{"name": name} for name in tools]
    assert prepared(tools, {"tools": own}) is None


def test_tools_of_a_wrong_type_get_none(tools: ToolSet):
    assert prepared(tools, {"tools": "bad"}) is None


@pytest.mark.parametrize(
    "dialect", ["anthropic_messages", "openai_chat", "openai_responses"]
)
def test_limit_of_tools(tools: ToolSet, dialect: str):
    own = [{"name": f"t{n}"} for n in range(124)]
    assert prepared(tools, {"tools": own}, dialect) is not None
    with pytest.raises(TooManyTools, match="4 tools of MCP servers and 125"):
        prepared(tools, {"tools": [*own, {"name": "one more"}]}, dialect)


# Running


def test_calls_run_at_once_and_keep_their_order(loop: ToolLoop, notebook: Notebook):
    output = wanting(*[("sleep", {"seconds": 1 - n / 50}) for n in range(8)])
    started = time.monotonic()
    outcomes = loop.run(output, notebook, ignore)
    assert time.monotonic() - started < 4
    assert [outcome.call.id for outcome in outcomes] == [c.id for c in output.calls]
    assert len(notebook.facts) == 8


def test_call_is_recorded_with_what_was_sent(loop, server, notebook: Notebook):
    loop.run(wanting(("echo", {"a": 1})), notebook, ignore)
    (facts,) = notebook.facts
    assert facts.pop("duration_ms") >= 0
    assert facts == {
        "turn": 0,
        "tool_call_id": "call_0",
        "item_id": "",
        "tool": "echo",
        "input": '{"a": 1}',
        "server_name": "s",
        "server_url": "http://127.0.0.1:1/mcp",
        "invocation_error": "",
    }
    assert server.calls[0][:2] == ("echo", {"a": 1})


@pytest.mark.parametrize(
    ("name", "error"),
    [("refuse", "it is gone"), ("crash", "the tool could not be called")],
)
def test_errors_become_outcomes(loop, notebook: Notebook, name: str, error: str):
    (outcome,) = loop.run(wanting((name, {})), notebook, ignore)
    assert (outcome.result, outcome.error) == (None, error)
    assert notebook.facts[0]["invocation_error"] == error


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", '"text"'])
def test_arguments_that_are_no_object_are_not_sent(
    loop, server, notebook: Notebook, arguments: str
):
    output = Output(calls=[ToolCall("c", "bmcp_s_echo", arguments)])
    (outcome,) = loop.run(output, notebook, ignore)
    assert outcome.error == "the arguments are not a JSON object"
    assert notebook.facts[0]["input"] == arguments
    assert not server.calls


def test_no_arguments_are_an_empty_object(loop, server, notebook: Notebook):
    loop.run(Output(calls=[ToolCall("c", "bmcp_s_echo", "")]), notebook, ignore)
    assert server.calls[0][1] == {}


def test_client_that_leaves_stops_the_tools(loop, notebook: Notebook):
    started = time.monotonic()
    outcomes = loop.run(
        wanting(("sleep", {"seconds": 30})),
        notebook,
        lambda abort: gevent.spawn_later(0.1, abort) and None,
    )
    assert time.monotonic() - started < 5
    assert outcomes[0].error == LEFT
    assert notebook.facts[0]["invocation_error"] == LEFT


# Limits


def test_turns_are_limited(loop, notebook: Notebook, settings):
    settings.AIBRIDGE_TOOL_ITERATIONS = 2
    for _ in range(2):
        output = wanting(("echo", {}))
        loop.advance(output, loop.run(output, notebook, ignore))
    with pytest.raises(TooManyTurns, match="after 2 turns") as caught:
        loop.run(wanting(("echo", {})), notebook, ignore)
    assert caught.value.headers == {"X-Should-Retry": "false"}
    assert [facts["turn"] for facts in notebook.facts] == [0, 1, 2]
    assert notebook.facts[-1]["invocation_error"].startswith("not run")


def test_time_is_limited(loop, server, notebook: Notebook, settings):
    settings.AIBRIDGE_TOOL_SECONDS = 0.2
    output = wanting(("sleep", {"seconds": 0.3}))
    outcomes = loop.run(output, notebook, ignore)
    assert server.calls[0][2] <= 0.2
    with pytest.raises(ToolsTookTooLong, match=r"longer than 0.2 s"):
        loop.advance(output, outcomes)


# Answers


def test_the_only_answer_is_left_alone(loop: ToolLoop):
    body = b'{"id":"msg_1","content":[]}'
    assert loop.final_body(body, loop.read_output(body), "own-id") is body


def test_the_last_of_several_is_composed(loop, notebook: Notebook):
    first = wanting(("echo", {}), usage={"output_tokens": 2})
    loop.advance(first, loop.run(first, notebook, ignore))
    body = b'{"id":"msg_2","content":[],"usage":{"output_tokens":3}}'
    final = json.loads(loop.final_body(body, loop.read_output(body), "own-id"))
    assert final["id"] == "own-id"
    assert final["usage"] == {"output_tokens": 5}
    assert len(json.loads(loop.body)["messages"]) == 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"others": True}, "tool of the client"), ({"is_cut": True}, "answer ended")],
)
def test_calls_that_nobody_runs_are_recorded(loop, notebook, fields, reason: str):
    loop.note_not_run(wanting(("echo", {}), **fields), notebook)
    assert reason in notebook.facts[0]["invocation_error"]
    assert notebook.facts[0]["duration_ms"] is None


def test_injected_calls_are_told_from_the_clients(loop: ToolLoop):
    calls = [ToolCall("1", "bmcp_s_echo"), ToolCall("2", "mine")]
    shown = loop.without_injected(Turn(tool_calls=calls))
    assert [call.name for call in shown.tool_calls] == ["mine"]

"""The MCP client against real servers of both protocol eras."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import gevent
import pytest

from proxy.mcp import CLIENT_NAME, CLIENT_VERSION, McpClient, McpError, McpTimeout
from proxy.mcp_wire import header_value, mirrored_parameters, parameter_headers
from proxy.upstream import GeventTransport
from tests.mcp.running import old_python, running_server
from tests.postgres import free_port
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def modern() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture(scope="module")
def legacy() -> Iterator[str]:
    """A server of the package's old major version, else one that plays it."""
    python = old_python()
    if python is None:
        with running_server("--legacy") as url:
            yield url
    else:
        with running_server(python=python) as url:
            yield url


@pytest.fixture(params=["modern", "legacy"])
def url(request) -> str:
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(url: str) -> Iterator[McpClient]:
    client = McpClient(url, timeout=20, transport=GeventTransport())
    yield client
    client.close()


def text(result: dict) -> str:
    return result["content"][0]["text"]


def test_tools_are_listed_with_their_schemas(client: McpClient):
    tools = {tool.name: tool for tool in client.list_tools()}
    assert {"add", "echo", "slow", "fail"} <= set(tools)
    assert tools["add"].description == "Add two numbers."
    assert tools["add"].input_schema["required"] == ["a", "b"]


def test_a_call_returns_the_servers_result(client: McpClient):
    result = client.call_tool("add", {"a": 2, "b": 3})
    assert text(result) == "5"
    assert not result.get("isError")


def test_unicode_survives(client: McpClient):
    assert text(client.call_tool("echo", {"text": "工具 – ü\u2028x"})) == (
        "工具 – ü\u2028x"
    )


def test_a_failing_tool_is_a_result(client: McpClient):
    result = client.call_tool("fail", {})
    assert result["isError"] is True


def test_a_slow_tool_ends_with_a_timeout(client: McpClient):
    started = time.monotonic()
    with pytest.raises(McpTimeout):
        client.call_tool("slow", {"seconds": 30}, timeout=0.5)
    assert time.monotonic() - started < 5


def test_many_calls_from_greenlets_take_as_long_as_one(client: McpClient):
    client.list_tools()
    started = time.monotonic()
    calls = [
        gevent.spawn(client.call_tool, "slow", {"seconds": 0.5}) for _ in range(20)
    ]
    gevent.joinall(calls, raise_error=True)
    assert [text(call.value) for call in calls] == ["slept 0.5"] * 20
    assert time.monotonic() - started < 8


def test_one_client_serves_many_threads(url: str):
    client = McpClient(url, timeout=20, transport=GeventTransport())
    with ThreadPoolExecutor(8) as pool:
        sums = pool.map(
            lambda n: text(client.call_tool("add", {"a": n, "b": n})), range(40)
        )
    assert list(sums) == [str(2 * n) for n in range(40)]


def test_era_is_found_out_once(modern: str, legacy: str):
    for url, version in ((modern, "2026-07-28"), (legacy, "2025-11-25")):
        client = McpClient(url, timeout=20, transport=GeventTransport())
        client.list_tools()
        session = client._session
        client.call_tool("add", {"a": 1, "b": 1})
        assert session is not None
        assert session.version == version
        assert client._session is session


def test_forgotten_session_is_opened_anew(legacy: str):
    client = McpClient(legacy, timeout=20, transport=GeventTransport())
    client.list_tools()
    assert client._session is not None
    client._session.id = "forgotten"
    assert text(client.call_tool("add", {"a": 1, "b": 1})) == "2"
    assert client._session.id != "forgotten"


def test_headers_are_sent(request):
    with running_server("--token", "open-sesame") as url:
        refused = McpClient(url, timeout=20, transport=GeventTransport())
        with pytest.raises(McpError, match="no token"):
            refused.list_tools()
        allowed = McpClient(
            url,
            {"Authorization": "Bearer open-sesame"},
            timeout=20,
            transport=GeventTransport(),
        )
        assert allowed.list_tools()


def test_client_names_itself():
    assert CLIENT_NAME == "coder/aibridge"
    assert CLIENT_VERSION


# Servers that misbehave


@pytest.fixture
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


def client_of(fake: FakeUpstream, **options) -> McpClient:
    return McpClient(
        f"{fake.url}/mcp", transport=GeventTransport(), **({"timeout": 5} | options)
    )


def answering(version: str):
    """Return an answer of a legacy server that settles on a version."""
    from tests.answers import Answer

    def answer(request):
        sent = request.json()
        if sent["method"] == "server/discover":
            return Answer(status=400, json={"error": "what?"})
        result = {"protocolVersion": version, "capabilities": {}}
        return Answer(json={"jsonrpc": "2.0", "id": sent.get("id"), "result": result})

    return answer


def test_unknown_version_fails_the_negotiation(fake: FakeUpstream):
    fake.answer_with(answering("1999-01-01"))
    with pytest.raises(
        McpError,
        match='MCP version negotiation failed; requested "2026-07-28", accepts '
        '".*2025-11-25.*", received "1999-01-01"',
    ):
        client_of(fake).list_tools()


def test_modern_server_without_a_common_version_fails(fake: FakeUpstream):
    error = {
        "code": -32022,
        "message": "Unsupported protocol version",
        "data": {"supported": ["2031-01-01"]},
    }
    fake.script(None, 400, json={"jsonrpc": "2.0", "id": 1, "error": error})
    with pytest.raises(McpError, match='received "2031-01-01"'):
        client_of(fake).list_tools()


def test_nobody_listens():
    client = McpClient(
        f"http://127.0.0.1:{free_port()}/mcp", timeout=5, transport=GeventTransport()
    )
    with pytest.raises(McpError, match="not reachable"):
        client.list_tools()


def test_redirects_are_not_followed(fake: FakeUpstream):
    fake.script(None, 307, {"location": "http://127.0.0.1:1/"})
    with pytest.raises(McpError, match="redirects"):
        client_of(fake).list_tools()
    assert {request.path for request in fake.requests} == {"/mcp"}


def test_answer_that_is_no_json_rpc(fake: FakeUpstream):
    fake.script(None, 200, body="<html>hello</html>")
    with pytest.raises(McpError):
        client_of(fake).list_tools()


def test_stream_that_ends_without_the_answer(fake: FakeUpstream):
    events = [b": hello\n\n", b'data: {"method":"notifications/message"}\n\n']
    fake.script(None, 200, {"content-type": "text/event-stream"}, chunks=events)
    with pytest.raises(McpError, match="without an answer"):
        client_of(fake).list_tools()


def test_server_that_keeps_the_stream_busy_times_out(fake: FakeUpstream):
    events = [b": still here\n\n", 0.1] * 100
    fake.script(None, 200, {"content-type": "text/event-stream"}, chunks=events)
    with pytest.raises(McpTimeout):
        client_of(fake, timeout=0.5).list_tools()


def test_private_address_can_be_refused():
    def guard(ip: str) -> None:
        raise ValueError(f"{ip} is private")

    client = McpClient(
        "http://127.0.0.1:1/mcp", transport=GeventTransport(resolve_guard=guard)
    )
    with pytest.raises(McpError, match="is private"):
        client.list_tools()


# Headers of the modern era


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("plain", "plain"),
        ("ü", "=?base64?w7w=?="),
        (" edge", "=?base64?IGVkZ2U=?="),
        ("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
    ],
)
def test_header_values_survive_the_way(value: str, header: str):
    assert header_value(value) == header


def test_arguments_are_mirrored_where_the_schema_asks():
    schema = {
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "options": {
                "properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry"}}
            },
            "other": {"type": "string"},
        }
    }
    paths = mirrored_parameters(schema)
    arguments = {"region": "eu", "options": {"dry": True}, "other": "x"}
    assert parameter_headers(paths, arguments) == {
        "MCP-Param-Region": "eu",
        "MCP-Param-Dry": "true",
    }
    assert parameter_headers(paths, {"region": None}) == {}

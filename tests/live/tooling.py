"""Fixtures of live tests in which the gateway runs tools of a real MCP server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from proxy.models import McpServer
from tests.live.apis import MESSAGES
from tests.live.gateway import Gateway
from tests.mcp.running import running_server
from tests.upstream import FakeUpstream


@pytest.fixture(scope="module")
def mcp_url() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture
def offer_tools(
    gateway: Gateway, upstream: FakeUpstream, served, token, mcp_url: str
) -> Iterator[Callable[..., McpServer]]:
    """Return a function that adds an MCP server and waits for its tools.

    The server is gone from the gateway again when the test is over.
    """
    provider = served("anthropic")

    def tools_seen() -> list[str]:
        MESSAGES.call(gateway.url, provider.name, token)
        seen = [tool["name"] for tool in upstream.last.json().get("tools", [])]
        upstream.forget()
        return seen

    def wait_until(done: Callable[[list[str]], bool]) -> None:
        deadline = time.monotonic() + 15
        while not done(tools_seen()):
            assert time.monotonic() < deadline, gateway.output()[-2000:]
            time.sleep(0.1)

    def offer(name: str = "test", **fields) -> McpServer:
        fields = {"url": mcp_url, "allow_pattern": "add|slow|fail|echo"} | fields
        row = McpServer.objects.create(name=name, **fields)
        wait_until(lambda seen: any(f"bmcp_{name}_" in tool for tool in seen))
        return row

    yield offer
    upstream.forget()
    McpServer.objects.all().delete()
    wait_until(lambda seen: not seen)

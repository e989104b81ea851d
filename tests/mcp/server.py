"""A real MCP server, run as a program: ``server.py PORT [--token T] [--legacy]``.

Speaks with the ``mcp`` package it finds: 2.x knows both protocol eras, 1.x the legacy
one only. ``--legacy`` makes 2.x refuse the modern one as an old server does.
"""

from __future__ import annotations

import argparse
import json

import anyio
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse

try:
    from mcp.server.mcpserver import Image, MCPServer
except ImportError:
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.server.fastmcp import Image

server = MCPServer("test server")


@server.tool()
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
async def echo(text: str) -> str:
    """Say the text again."""
    return text


@server.tool()
async def slow(seconds: float) -> str:
    """Answer after some seconds."""
    slow_calls.append(seconds)
    await anyio.sleep(seconds)
    return f"slept {seconds:g}"


slow_calls: list[float] = []


@server.custom_route("/slow-calls", methods=["GET"])
async def count_slow_calls(_: Request) -> PlainTextResponse:
    """Say how many calls of the slow tool have begun."""
    return PlainTextResponse(str(len(slow_calls)))


@server.tool()
async def fail() -> str:
    """Fail."""
    raise ValueError("the tool is broken")


@server.tool()
async def picture() -> Image:
    """Return an image."""
    return Image(data=b"\x89PNG", format="png")


@server.tool()
async def delete_everything() -> str:
    """Never to be offered."""
    return "gone"


class Doorkeeper:
    """ASGI middleware: asks for a bearer token, plays an old server."""

    def __init__(self, app, token: str, legacy: bool) -> None:
        self._app = app
        self._token = token
        self._legacy = legacy

    async def __call__(self, scope, receive, send) -> None:
        headers = dict(scope.get("headers", ()))
        told = headers.get(b"authorization", b"").decode()
        if scope["type"] == "http" and self._token and told != f"Bearer {self._token}":
            await _refuse(send, 401, {"message": "no token"})
        elif self._legacy and headers.get(b"mcp-protocol-version", b"") > b"2026":
            await _refuse(send, 400, {"message": "unknown protocol version"})
        else:
            await self._app(scope, receive, send)


async def _refuse(send, status: int, error: dict) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
    head = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--token", default="")
    parser.add_argument("--legacy", action="store_true")
    options = parser.parse_args()
    app = Doorkeeper(server.streamable_http_app(), options.token, options.legacy)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()

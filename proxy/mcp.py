"""Speaks to MCP servers over streamable HTTP, synchronously, in both protocol eras.

1. Modern (2026-07-28): every call is one self-contained POST. A server that does not
   know ``server/discover`` is asked to ``initialize`` and gets a session (legacy).
2. What a server is, modern or legacy, is found out once and kept; a session that the
   server has forgotten is opened anew, and only then is a call sent a second time.
3. Answers may be JSON or an event stream; what is not the answer is skipped.

Knows no dialect, no database and no filter.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from proxy.dialects.jsontext import as_object, as_objects, as_text
from proxy.mcp_wire import (
    TOO_LATE,
    McpError,
    McpTimeout,
    Refused,
    as_mcp_errors,
    header_value,
    mirrored_parameters,
    parameter_headers,
    read_result,
    refusal,
)

__all__ = ["McpClient", "McpError", "McpTimeout", "McpTool"]

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
CLIENT_NAME = "coder/aibridge"
CLIENT_VERSION = "0.1.0"

_META = "io.modelcontextprotocol/"
_UNSUPPORTED_VERSION = -32022
_MOST_PAGES = 50
_ACCEPT = "application/json, text/event-stream"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool as its server describes it."""

    name: str
    description: str = ""
    input_schema: Json = field(default_factory=dict)


class McpClient:
    """One server, as seen by this process; may be shared by any number of threads.

    ``timeout`` limits each call in seconds, whatever the server sends meanwhile.
    ``transport`` carries the requests; redirects are never followed.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._http = httpx.Client(
            transport=transport,
            headers=dict(headers or {}),
            follow_redirects=False,
            trust_env=False,
            timeout=timeout,
        )
        self._ids = itertools.count(1)
        self._opening = threading.Lock()
        self._session: _Session | None = None
        self._mirrored: dict[str, dict[tuple[str, ...], str]] = {}

    def list_tools(self) -> list[McpTool]:
        """Return all tools the server offers, in its order; raises McpError."""
        tools: list[McpTool] = []
        cursor = ""
        for _ in range(_MOST_PAGES):
            page = self._call("tools/list", {"cursor": cursor} if cursor else {})
            tools += map(_tool, as_objects(page.get("tools")))
            cursor = as_text(page.get("nextCursor"))
            if not cursor:
                break
        self._mirrored = {t.name: mirrored_parameters(t.input_schema) for t in tools}
        return [tool for tool in tools if tool.name]

    def call_tool(
        self, name: str, arguments: Json, *, timeout: float | None = None
    ) -> Json:
        """Return the tool's result (``content``, ``isError``, ...); raises McpError.

        A result with ``isError`` is a result. ``timeout`` shortens the client's own.
        """
        mirrored = parameter_headers(self._mirrored.get(name, {}), arguments)
        params = {"name": name, "arguments": arguments}
        result = self._call("tools/call", params, mirrored, timeout)
        if as_text(result.get("resultType")) == "input_required":
            raise McpError(f"tool {name} asks for input, which a gateway cannot give")
        return result

    def close(self) -> None:
        """End a legacy session politely, and the connections."""
        session, self._session = self._session, None
        if session is not None and session.id:
            with suppress(httpx.HTTPError):
                self._http.delete(self._url, headers=session.headers("", {}), timeout=2)
        self._http.close()

    # Eras

    def _call(
        self,
        method: str,
        params: Json,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Json:
        deadline = time.monotonic() + min(timeout or self._timeout, self._timeout)
        session = self._opened(deadline)
        try:
            return self._request(session, method, params, deadline, headers)
        except Refused as refused:
            if not session.id or refused.status != 404:
                raise
        # The server has forgotten the session, so it has not looked at the call.
        session = self._opened(deadline, instead_of=session)
        return self._request(session, method, params, deadline, headers)

    def _opened(self, deadline: float, instead_of: _Session | None = None) -> _Session:
        with self._opening:
            if self._session is None or self._session is instead_of:
                self._session = self._open(deadline)
            return self._session

    def _open(self, deadline: float) -> _Session:
        modern = _Session(MODERN)
        try:
            found = self._request(modern, "server/discover", {}, deadline)
        except Refused as refused:
            if refused.status in (401, 403):
                raise
            supported = as_object(refused.data).get("supported")
            if refused.code == _UNSUPPORTED_VERSION and isinstance(supported, list):
                _require_legacy(supported)
            return self._initialized(deadline)
        if MODERN in (found.get("supportedVersions") or ()):
            return modern
        return self._initialized(deadline)

    def _initialized(self, deadline: float) -> _Session:
        session = _Session("")
        offer = {
            "protocolVersion": LEGACY[0],
            "capabilities": {},
            "clientInfo": {"name": CLIENT_NAME, "version": CLIENT_VERSION},
        }
        answer = self._request(session, "initialize", offer, deadline)
        session.version = as_text(answer.get("protocolVersion"))
        if session.version not in LEGACY:
            raise _negotiation_failed(session.version)
        self._notify(session, "notifications/initialized", deadline)
        return session

    # The wire

    def _notify(self, session: _Session, method: str, deadline: float) -> None:
        message = {"jsonrpc": "2.0", "method": method}
        with as_mcp_errors(), self._posted(session, message, {}, deadline) as response:
            if response.status_code >= 400:
                response.read()
                raise refusal(response.status_code, None)

    def _request(
        self,
        session: _Session,
        method: str,
        params: Json,
        deadline: float,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        message = {
            "jsonrpc": "2.0",
            "id": next(self._ids),
            "method": method,
            "params": session.params(params),
        }
        with (
            as_mcp_errors(),
            self._posted(session, message, headers or {}, deadline) as response,
        ):
            if session_id := response.headers.get("mcp-session-id"):
                session.id = session_id
            return read_result(response, message["id"], deadline)

    def _posted(
        self,
        session: _Session,
        message: Json,
        headers: Mapping[str, str],
        deadline: float,
    ) -> Any:
        left = deadline - time.monotonic()
        if left <= 0:
            raise McpTimeout(TOO_LATE)
        return self._http.stream(
            "POST",
            self._url,
            json=message,
            headers=session.headers(message["method"], message.get("params", {}))
            | dict(headers),
            timeout=left,
            extensions={"total": left},
        )


@dataclass(slots=True)
class _Session:
    """The protocol version in use and, in the legacy era, the server's session id."""

    version: str
    id: str = ""

    @property
    def is_modern(self) -> bool:
        return self.version == MODERN

    def headers(self, method: str, params: Json) -> dict[str, str]:
        headers = {"Accept": _ACCEPT}
        if self.version:
            headers["MCP-Protocol-Version"] = self.version
        if self.id:
            headers["MCP-Session-Id"] = self.id
        if self.is_modern and method:
            headers["MCP-Method"] = method
            if name := as_text(params.get("name")):
                headers["MCP-Name"] = header_value(name)
        return headers

    def params(self, params: Json) -> Json:
        if not self.is_modern:
            return params
        told = {
            f"{_META}protocolVersion": MODERN,
            f"{_META}clientInfo": {"name": CLIENT_NAME, "version": CLIENT_VERSION},
            f"{_META}clientCapabilities": {},
        }
        return {**params, "_meta": told}


def _tool(entry: Json) -> McpTool:
    return McpTool(
        as_text(entry.get("name")),
        as_text(entry.get("description")),
        as_object(entry.get("inputSchema")),
    )


def _require_legacy(supported: list[Any]) -> None:
    if not any(version in LEGACY for version in supported):
        raise _negotiation_failed(", ".join(map(str, supported)))


def _negotiation_failed(received: str) -> McpError:
    accepted = ", ".join((MODERN, *LEGACY))
    return McpError(
        f'MCP version negotiation failed; requested "{MODERN}", '
        f'accepts "{accepted}", received "{received[:100]}"'
    )

"""The tools of all enabled MCP servers, kept in memory and asked for in the background.

1. A request reads the current tool set: it waits for no server and asks no database.
2. A server that fails keeps the tools it had; it breaks neither others nor a request.
3. Changed rows are heard of; what did not change keeps its client and its tools.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import httpx
from django.conf import settings
from django.db import DatabaseError
from django.db.models import ExpressionWrapper, F, TextField

from providers import changes
from providers.database import give_back
from providers.encryption import decrypt
from proxy import failover
from proxy.mcp import McpClient, McpError, McpTool
from proxy.models import McpServer
from proxy.toolsets import ServerConfig, ToolSet, merge

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 8
_TEST_SECONDS = 15.0


class _SharedTransport(httpx.BaseTransport):
    """This process's guarded transport; closing a client leaves it open."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return failover.send(request)


def make_client(server: ServerConfig) -> McpClient:
    """Return a client of a server; it connects when first used."""
    return McpClient(
        server.url,
        server.headers,
        timeout=server.timeout,
        transport=_SharedTransport(),
    )


class _Known:
    """One server's tools, as last heard; ``error`` is "" after a success."""

    def __init__(self, server: ServerConfig, client: McpClient) -> None:
        self.server = server
        self.client = client
        self.tools: list[McpTool] = []
        self.error = ""

    def refresh(self) -> None:
        try:
            self.tools = self.client.list_tools()
            self.error = ""
        except McpError as error:
            if not self.error:
                facts = {"server": self.server.name, "reason": str(error)[:200]}
                logger.warning("MCP server not usable", extra=facts)
            self.error = str(error)


class Catalogue:
    """What this process knows of MCP servers; one instance is shared by all requests.

    ``connect`` makes the client of a server.
    """

    def __init__(
        self, connect: Callable[[ServerConfig], McpClient] = make_client
    ) -> None:
        self._connect = connect
        self._listings: dict[str, _Known] = {}
        self._current = ToolSet()
        self._changing = threading.Lock()

    def current(self) -> ToolSet:
        """Return the tools as of now; immutable, so a request can keep it."""
        return self._current

    def errors(self) -> dict[str, str]:
        """Return why servers could not be listed, by server name."""
        known = list(self._listings.values())
        return {item.server.name: item.error for item in known if item.error}

    def configure(self, servers: Iterable[ServerConfig]) -> None:
        """Take over a list of servers; ask those that are new, changed or failing."""
        with self._changing:
            old = self._listings
            new = {
                server.name: self._kept(old.get(server.name), server)
                for server in servers
            }
            self._listings = new
            fresh = [
                item
                for name, item in new.items()
                if item is not old.get(name) or item.error
            ]
            if fresh or new.keys() != old.keys():
                self._ask(fresh)

    def refresh(self) -> None:
        """Ask every server again."""
        with self._changing:
            self._ask(list(self._listings.values()))

    def _kept(self, old: _Known | None, server: ServerConfig) -> _Known:
        if old is not None and old.server == server:
            return old
        return _Known(server, self._connect(server))

    def _ask(self, listings: list[_Known]) -> None:
        if listings:
            with ThreadPoolExecutor(min(len(listings), _MOST_AT_ONCE)) as pool:
                list(pool.map(_Known.refresh, listings))
        self._current = merge(
            (item.server, item.client, item.tools) for item in self._listings.values()
        )


catalogue = Catalogue()
_stopping = threading.Event()
_changed = threading.Event()


def load(into: Catalogue = catalogue) -> None:
    """Read the enabled servers and list their tools; raises django.db.Error."""
    # Selected as plain text: one that cannot be decrypted must not fail them all.
    sealed = ExpressionWrapper(F("headers"), output_field=TextField())
    rows = McpServer.objects.filter(enabled=True).defer("headers")
    try:
        found = [_readable(row, row.sealed) for row in rows.annotate(sealed=sealed)]
    finally:
        give_back()
    into.configure(filter(None, found))


def config_of(row: McpServer, headers: str) -> ServerConfig:
    """Return a row's configuration; ``headers`` is JSON. Raises ValueError."""
    return ServerConfig(
        name=row.name,
        url=row.url,
        headers={str(k): str(v) for k, v in json.loads(headers or "{}").items()},
        allow=row.allow_pattern,
        deny=row.deny_pattern,
        timeout=row.timeout,
    )


def _readable(row: McpServer, sealed: str) -> ServerConfig | None:
    try:
        return config_of(row, decrypt(sealed) if sealed else "")
    except ValueError as error:
        facts = {"server": row.name, "reason": str(error)}
        logger.error("MCP server not usable", extra=facts)
        return None


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool a server offers; ``id`` is what models call it by, "" if they may not."""

    name: str
    description: str
    id: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server answered when it was asked just now, or why it did not."""

    tools: tuple[ListedTool, ...] = ()
    error: str = ""


def list_now(row: McpServer) -> Listing:
    """Ask a server for its tools, whether it is enabled or not."""
    try:
        config = config_of(row, row.headers)
    except ValueError as error:
        return Listing(error=f"the stored headers cannot be read: {error}")
    give_back()
    client = make_client(replace(config, timeout=min(config.timeout, _TEST_SECONDS)))
    try:
        tools = client.list_tools()
    except McpError as error:
        return Listing(error=str(error))
    finally:
        client.close()
    offered = merge([(config, client, tools)])
    ids = {found.tool.name: tool_id for tool_id, found in offered.items()}
    return Listing(
        tuple(ListedTool(t.name, t.description, ids.get(t.name, "")) for t in tools)
    )


def start() -> None:
    """Begin to keep the catalogue up to date, in a thread of its own."""
    _stopping.clear()
    changes.subscribe("mcp", _changed.set)
    threading.Thread(target=_keep, name="mcp", daemon=True).start()


def stop() -> None:
    """End keeping it up to date."""
    _stopping.set()
    _changed.set()


def _keep() -> None:
    refresh_at = time.monotonic() + settings.AIBRIDGE_MCP_REFRESH_SECONDS
    while not _stopping.is_set():
        _changed.clear()
        try:
            load()
            if time.monotonic() >= refresh_at:
                refresh_at = time.monotonic() + settings.AIBRIDGE_MCP_REFRESH_SECONDS
                catalogue.refresh()
        except DatabaseError as error:
            facts = {"reason": type(error).__name__}
            logger.warning("MCP servers not loaded", extra=facts)
        _changed.wait(settings.AIBRIDGE_MCP_REFRESH_SECONDS)

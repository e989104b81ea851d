"""Which tools of which MCP servers models may see, and under which names.

Pure: patterns, names and snapshots; what a server offers is found out elsewhere.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from proxy.dialects.tooling import OfferedTool
from proxy.mcp import McpClient, McpTool

logger = logging.getLogger(__name__)

PREFIX = "bmcp_"
LONGEST_ID = 64
_HASH_DIGITS = 8
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")

Named = TypeVar("Named", bound=McpTool)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """An MCP server as an administrator described it; headers are secret."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow: str = ""
    deny: str = ""
    timeout: float = 60.0

    @property
    def public_url(self) -> str:
        """Return the URL without its query, which may hold a secret."""
        return self.url.partition("?")[0]


@dataclass(frozen=True, slots=True)
class InjectedTool:
    """A tool with the id models call it by; ``client`` reaches its server."""

    id: str
    tool: McpTool
    server: ServerConfig
    client: McpClient = field(repr=False, compare=False)

    @property
    def offered(self) -> OfferedTool:
        return OfferedTool(self.id, self.tool.description, self.tool.input_schema)


class ToolSet(Mapping[str, InjectedTool]):
    """The injectable tools at one moment, by id and in order of their ids."""

    def __init__(self, tools: Iterable[InjectedTool] = ()) -> None:
        ordered = sorted(tools, key=lambda tool: tool.id)
        self._tools = {tool.id: tool for tool in ordered}

    def __getitem__(self, tool_id: str) -> InjectedTool:
        return self._tools[tool_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)


def filter_tools(tools: Iterable[Named], allow: str, deny: str) -> list[Named]:
    """Return the tools that may be used, in order.

    ``allow`` and ``deny`` are searched in the name, case-sensitively; "" is none. Deny
    wins; without ``allow`` everything is allowed.
    """
    allows = re.compile(allow) if allow else None
    denies = re.compile(deny) if deny else None
    kept = []
    for tool in tools:
        allowed = allows is None or allows.search(tool.name)
        denied = denies is not None and denies.search(tool.name)
        if allows is not None and allowed and denied:
            logger.warning(
                "tool filtering conflict; marking tool disallowed",
                extra={"tool": tool.name},
            )
        if allowed and not denied:
            kept.append(tool)
    return kept


def tool_ids(names: Sequence[tuple[str, str]]) -> list[str]:
    """Return an id for each (server, tool): unique, at most 64 of ``[a-zA-Z0-9_-]``.

    A name that is too long, or the same as another once its characters are replaced,
    gets a hash of the full name at its end, whichever order they come in.
    """
    plain = [
        PREFIX + _NOT_IN_IDS.sub("_", f"{server}_{tool}") for server, tool in names
    ]
    count = Counter(plain)
    return [
        candidate
        if count[candidate] == 1 and len(candidate) <= LONGEST_ID
        else _hashed(candidate, server, tool)
        for candidate, (server, tool) in zip(plain, names, strict=True)
    ]


def _hashed(candidate: str, server: str, tool: str) -> str:
    digest = hashlib.sha256(f"{server}\0{tool}".encode()).hexdigest()[:_HASH_DIGITS]
    return f"{candidate[: LONGEST_ID - _HASH_DIGITS - 1]}_{digest}"


def merge(
    lists: Iterable[tuple[ServerConfig, McpClient, Sequence[McpTool]]],
) -> ToolSet:
    """Return the tools of all servers, filtered and named.

    A tool that a server lists twice counts once.
    """
    found: dict[tuple[str, str], tuple[McpTool, ServerConfig, McpClient]] = {}
    for server, client, tools in lists:
        for tool in filter_tools(tools, server.allow, server.deny):
            found.setdefault((server.name, tool.name), (tool, server, client))
    ids = tool_ids(list(found))
    return ToolSet(
        InjectedTool(tool_id, *parts)
        for tool_id, parts in zip(ids, found.values(), strict=True)
    )

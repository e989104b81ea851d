"""Tells which tool calls, and which of its sessions, from headers and the body.

A closed list of known tools: what it does not know is Unknown. It keeps no state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.dialects.jsontext import as_object, as_text, read_json

UNKNOWN = "Unknown"
CLAUDE_CODE = "Claude Code"
LONGEST_CLIENT = 64
LONGEST_SESSION_ID = 256


@dataclass(frozen=True, slots=True)
class _Tool:
    """How a tool is known, and the headers that carry its session, best first."""

    name: str
    user_agents: tuple[str, ...] = ()
    originator: str = ""
    header: str = ""
    session_headers: tuple[str, ...] = ()


# The first match wins.
_TOOLS = (
    _Tool("Mux", ("mux/",), session_headers=("x-mux-workspace-id",)),
    _Tool("Xum", ("xum/",), session_headers=("x-mux-workspace-id",)),
    _Tool(CLAUDE_CODE, ("claude",), session_headers=("x-claude-code-session-id",)),
    _Tool("Codex", ("codex",), session_headers=("session-id", "session_id")),
    _Tool("Zed", ("zed/",)),
    _Tool(
        "GitHub Copilot (VS Code)",
        ("githubcopilotchat/",),
        session_headers=("x-interaction-id",),
    ),
    _Tool(
        "GitHub Copilot (CLI)",
        ("copilot/",),
        session_headers=("x-client-session-id",),
    ),
    _Tool(
        "Kilo Code",
        ("kilo-code/",),
        originator="kilo-code",
        session_headers=("x-kilocode-taskid",),
    ),
    _Tool("Roo Code", ("roo-code/",), originator="roo-code"),
    _Tool("Coder Agents", ("coder-agents/",), session_headers=("x-coder-chat-id",)),
    _Tool("Charm Crush", ("charm crush/", "charm-crush/")),
    _Tool("Cursor", header="x-cursor-client-version"),
    _Tool(
        "OpenCode",
        ("opencode/",),
        session_headers=("x-opencode-session", "x-session-affinity"),
    ),
    _Tool("Junie", ("junie:",)),
)
_SESSION_HEADERS = {tool.name: tool.session_headers for tool in _TOOLS}


def detect_client(headers: Mapping[str, str]) -> str:
    """Return the name of the calling tool, at most 64 characters, or Unknown."""
    given = _lower_names(headers)
    user_agent = given.get("user-agent", "").strip().lower()
    for tool in _TOOLS:
        if _is_tool(tool, user_agent, given):
            return tool.name[:LONGEST_CLIENT]
    return UNKNOWN


def _is_tool(tool: _Tool, user_agent: str, given: Mapping[str, str]) -> bool:
    if user_agent.startswith(tool.user_agents):
        return True
    if tool.originator and given.get("originator") == tool.originator:
        return True
    return bool(tool.header and given.get(tool.header))


def detect_session_id(
    client: str, headers: Mapping[str, str], parsed_body: Any
) -> str | None:
    """Return the tool's own session id, at most 256 characters, or None.

    ``parsed_body`` is the decoded request body; anything but an object counts as
    empty.
    """
    given = _lower_names(headers)
    found = ""
    for name in _SESSION_HEADERS.get(client, ()):
        found = found or given.get(name, "").strip()
    if not found and client == CLAUDE_CODE:
        found = _claude_code_session(parsed_body)
    return found[:LONGEST_SESSION_ID] or None


def _claude_code_session(parsed_body: Any) -> str:
    """Read ``metadata.user_id``: JSON text today, ``…_session_<id>`` before."""
    metadata = as_object(as_object(parsed_body).get("metadata"))
    user_id = as_text(metadata.get("user_id"))
    value = read_json(user_id.encode()) if user_id.startswith("{") else None
    if isinstance(value, dict):
        return as_text(value.get("session_id")).strip()
    return user_id.partition("_session_")[2].strip()


def _lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value or "" for name, value in headers.items()}

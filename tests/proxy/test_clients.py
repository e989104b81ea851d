"""Reference tables 30.10 and 30.11: which tool calls, and which of its sessions."""

from __future__ import annotations

import json

import pytest

from proxy.clients import detect_client, detect_session_id

UUID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
LEGACY = f"user_abc123_account_456_session_{UUID}"


def agent(value: str) -> dict[str, str]:
    return {"User-Agent": value}


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        pytest.param(
            agent("mux/0.19.0-next.2.gcceff159 ai-sdk/openai/3.0.36"), "Mux", id="mux"
        ),
        pytest.param(agent("xum/1.0.0"), "Xum", id="xum"),
        pytest.param(
            agent("claude-cli/2.0.67 (external, cli)"), "Claude Code", id="claude_code"
        ),
        pytest.param(
            agent("codex_cli_rs/0.87.0 (Mac OS 26.2.0; arm64) ghostty/1.2"),
            "Codex",
            id="codex_cli",
        ),
        pytest.param(
            agent("codex_exec/0.169.0 (Debian 12; x86_64)") | {"originator": "codex"},
            "Codex",
            id="codex_exec",
        ),
        pytest.param(
            agent("Zed/0.219.4+stable.119.abc123 (macos; aarch64)"), "Zed", id="zed"
        ),
        pytest.param(
            agent("GitHubCopilotChat/0.37.2026011603"),
            "GitHub Copilot (VS Code)",
            id="github_copilot_vsc",
        ),
        pytest.param(
            agent("copilot/0.0.403 (client/cli linux v24.11.1)"),
            "GitHub Copilot (CLI)",
            id="github_copilot_cli",
        ),
        pytest.param(
            agent("kilo-code/5.1.0 (darwin 25.2.0; arm64) node/22.21.1"),
            "Kilo Code",
            id="kilo_code_user_agent",
        ),
        pytest.param(
            {"Originator": "kilo-code", "User-Agent": ""},
            "Kilo Code",
            id="kilo_code_originator",
        ),
        pytest.param(
            agent("roo-code/3.45.0 (darwin)"), "Roo Code", id="roo_code_user_agent"
        ),
        pytest.param({"Originator": "roo-code"}, "Roo Code", id="roo_code_originator"),
        pytest.param(
            {"Originator": "Roo-Code"}, "Unknown", id="originator_is_case_sensitive"
        ),
        pytest.param(
            agent("coder-agents/v2.24.0 (linux/amd64)"),
            "Coder Agents",
            id="coder_agents",
        ),
        pytest.param(
            agent("coder-agents/v0.0.0-devel (darwin/arm64)"),
            "Coder Agents",
            id="coder_agents_dev",
        ),
        pytest.param(agent("Charm Crush/0.1.11"), "Charm Crush", id="charm_crush"),
        pytest.param(
            agent("charm-crush/0.2.0"), "Charm Crush", id="charm_crush_hyphen"
        ),
        pytest.param(
            agent("connect-es/1.6.1") | {"X-Cursor-client-version": "0.50.0"},
            "Cursor",
            id="cursor_x_cursor_client_version",
        ),
        pytest.param(
            {"x-cursor-client-version": "abc123"},
            "Cursor",
            id="cursor_x_cursor_some_other_header",
        ),
        pytest.param(agent("opencode/1.0.3"), "OpenCode", id="opencode"),
        pytest.param(agent("Junie:1.2"), "Junie", id="junie"),
        pytest.param(
            agent("ccclaude-cli/calude-with-wrong-prefix"),
            "Unknown",
            id="unknown_client",
        ),
        pytest.param(agent(""), "Unknown", id="empty_user_agent"),
        pytest.param({}, "Unknown", id="no_headers"),
        pytest.param({"USER-AGENT": "Zed/1"}, "Zed", id="header_names_ignore_case"),
        pytest.param(
            agent("mux/1") | {"Originator": "kilo-code"}, "Mux", id="first_match_wins"
        ),
    ],
)
def test_guess_client(headers, client):
    assert detect_client(headers) == client


def body(user_id: object) -> dict[str, object]:
    return {"model": "claude", "metadata": {"user_id": user_id}}


CLAUDE = "X-Claude-Code-Session-Id"


@pytest.mark.parametrize(
    ("client", "headers", "parsed", "session"),
    [
        pytest.param(
            "Claude Code",
            {CLAUDE: "header-session-id"},
            body(LEGACY),
            "header-session-id",
            id="claude_code_header_takes_precedence",
        ),
        pytest.param(
            "Claude Code",
            {CLAUDE: "aabb-ccdd"},
            {"model": "x"},
            "aabb-ccdd",
            id="claude_code_header_only",
        ),
        pytest.param(
            "Claude Code",
            {CLAUDE: ""},
            body(LEGACY),
            UUID,
            id="claude_code_empty_header_falls_back_to_body",
        ),
        pytest.param(
            "Claude Code",
            {CLAUDE: "   "},
            body(LEGACY),
            UUID,
            id="claude_code_whitespace_header_falls_back_to_body",
        ),
        pytest.param(
            "Claude Code", {}, body(LEGACY), UUID, id="claude_code_with_valid_session"
        ),
        pytest.param(
            "Claude Code",
            {},
            body(
                json.dumps(
                    {
                        "device_id": "d",
                        "account_uuid": "",
                        "session_id": "54c1eb09-bc4c-4d2f-98eb-6d2ab2d5e2fe",
                    }
                )
            ),
            "54c1eb09-bc4c-4d2f-98eb-6d2ab2d5e2fe",
            id="claude_code_with_valid_session_new_format",
        ),
        pytest.param(
            "Claude Code",
            {},
            body(json.dumps({"device_id": "x_session_y", "session_id": ""})),
            None,
            id="claude_code_new_format_empty_session_id",
        ),
        pytest.param(
            "Claude Code",
            {},
            body(json.dumps({"device_id": "x_session_y"})),
            None,
            id="claude_code_new_format_no_session_id_field",
        ),
        pytest.param(
            "Claude Code", {}, {"model": "x"}, None, id="claude_code_missing_metadata"
        ),
        pytest.param(
            "Claude Code", {}, {"metadata": {}}, None, id="claude_code_missing_user_id"
        ),
        pytest.param(
            "Claude Code",
            {},
            body("user_abc123_account_456"),
            None,
            id="claude_code_user_id_without_session",
        ),
        pytest.param("Claude Code", {}, {}, None, id="claude_code_empty_body"),
        pytest.param("Claude Code", {}, None, None, id="claude_code_invalid_json"),
        pytest.param(
            "Claude Code", {}, body(7), None, id="claude_code_user_id_is_no_text"
        ),
        pytest.param(
            "Claude Code",
            {},
            {"metadata": [1]},
            None,
            id="claude_code_metadata_is_no_object",
        ),
        pytest.param(
            "Codex",
            {"session_id": "codex-session-123"},
            None,
            "codex-session-123",
            id="codex_with_session_header",
        ),
        pytest.param(
            "Codex",
            {"session-id": "today", "session_id": "before"},
            None,
            "today",
            id="codex_prefers_todays_header",
        ),
        pytest.param(
            "Codex",
            {"Session-Id": " ", "session_id": "before"},
            None,
            "before",
            id="codex_blank_header_falls_back",
        ),
        pytest.param(
            "Codex",
            {"session_id": "  codex-session-123 "},
            None,
            "codex-session-123",
            id="codex_with_whitespace_in_header",
        ),
        pytest.param("Codex", {}, None, None, id="codex_without_session_header"),
        pytest.param(
            "Unknown", {}, body(LEGACY), None, id="unknown_client_returns_empty"
        ),
        pytest.param(
            "Zed", {"session_id": "x"}, body(LEGACY), None, id="zed_returns_empty"
        ),
        pytest.param(
            "Mux",
            {"X-Mux-Workspace-Id": "ws-abc-123"},
            None,
            "ws-abc-123",
            id="mux_with_workspace_header",
        ),
        pytest.param("Mux", {}, None, None, id="mux_without_workspace_header"),
        pytest.param(
            "GitHub Copilot (VS Code)",
            {"x-interaction-id": "interaction-xyz"},
            None,
            "interaction-xyz",
            id="copilot_vsc_with_interaction_id",
        ),
        pytest.param(
            "GitHub Copilot (VS Code)",
            {},
            None,
            None,
            id="copilot_vsc_without_interaction_id",
        ),
        pytest.param(
            "GitHub Copilot (CLI)",
            {"X-Client-Session-Id": "cli-sess-456"},
            None,
            "cli-sess-456",
            id="copilot_cli_with_session_header",
        ),
        pytest.param(
            "GitHub Copilot (CLI)",
            {},
            None,
            None,
            id="copilot_cli_without_session_header",
        ),
        pytest.param(
            "Kilo Code",
            {"X-KILOCODE-TASKID": "task-789"},
            None,
            "task-789",
            id="kilo_with_task_id",
        ),
        pytest.param("Kilo Code", {}, None, None, id="kilo_without_task_id"),
        pytest.param(
            "Coder Agents",
            {"X-Coder-Chat-Id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890"},
            None,
            "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
            id="coder_agents_with_chat_id",
        ),
        pytest.param("Coder Agents", {}, None, None, id="coder_agents_without_chat_id"),
        pytest.param(
            "OpenCode",
            {"X-OpenCode-Session": "oc", "x-session-affinity": "af"},
            None,
            "oc",
            id="opencode_with_session",
        ),
        pytest.param(
            "OpenCode",
            {"x-session-affinity": "af"},
            None,
            "af",
            id="opencode_with_affinity",
        ),
        pytest.param(
            "Roo Code", {"session_id": "x"}, None, None, id="roo_returns_empty"
        ),
        pytest.param(
            "Cursor", {"session_id": "x"}, None, None, id="cursor_returns_empty"
        ),
        pytest.param(
            "Kilo Code",
            {"X-KILOCODE-TASKID": " "},
            None,
            None,
            id="empty session ID value",
        ),
    ],
)
def test_guess_session_id(client, headers, parsed, session):
    assert detect_session_id(client, headers, parsed) == session


def test_session_id_is_cut_to_its_column():
    assert detect_session_id("Codex", {"session-id": "x" * 300}, None) == "x" * 256


def test_neither_headers_nor_body_are_changed():
    headers, parsed = {CLAUDE: " a "}, body(LEGACY)
    detect_client(headers)
    detect_session_id("Claude Code", headers, parsed)
    assert (headers, parsed) == ({CLAUDE: " a "}, body(LEGACY))

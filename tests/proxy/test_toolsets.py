"""Which MCP tools are offered, and under which names."""

from __future__ import annotations

import logging
import re

import pytest

from proxy.mcp import McpClient, McpTool
from proxy.toolsets import ServerConfig, filter_tools, merge, tool_ids

THREE = ["tool1", "tool2", "tool3"]
FILES = ["read_file", "write_file", "delete_file", "list_files"]


def kept(names: list[str], allow: str, deny: str) -> list[str]:
    return [tool.name for tool in filter_tools(map(McpTool, names), allow, deny)]


@pytest.mark.parametrize(
    ("allow", "deny", "names", "expected"),
    [
        ("", "", [], []),
        ("", "", THREE, THREE),
        (".*", "", THREE, THREE),
        ("tool[12]", "", THREE, ["tool1", "tool2"]),
        ("nonexistent", "", THREE, []),
        ("", ".*", THREE, []),
        ("", "tool2", THREE, ["tool1", "tool3"]),
        ("", "nonexistent", THREE, THREE),
        (
            "tool[124]",
            "tool3",
            ["tool1", "tool2", "tool3", "tool4"],
            ["tool1", "tool2", "tool4"],
        ),
        ("tool.*", "tool2", THREE, ["tool1", "tool3"]),
        (".*", ".*", THREE, []),
        (".*_file", "delete.*", FILES, ["read_file", "write_file", "list_files"]),
        ("^test$", "", ["test", "test1", "mytest"], ["test"]),
        (
            "read|write",
            "",
            ["read", "write", "execute", "delete"],
            ["read", "write"],
        ),
        (
            "",
            "execute|delete",
            ["read", "write", "execute", "delete"],
            ["read", "write"],
        ),
        ("tool[A-Z]", "", ["toolA", "toolB", "toola", "tool1"], ["toolA", "toolB"]),
        ("^tool$", "", ["tool", "Tool", "TOOL"], ["tool"]),
        (r"tool\.test", "", ["tool.test", "toolXtest"], ["tool.test"]),
        ("tool.*", "", ["", "tool1", "tool2"], ["tool1", "tool2"]),
        ("工具.*", "", ["工具1", "工具2", "tool3"], ["工具1", "工具2"]),
        (
            r"tool\s+\d",
            "",
            ["tool 1", "tool  2", "tool\t3", "tool4"],
            ["tool 1", "tool  2", "tool\t3"],
        ),
        ("^foo", "^bar", ["foo1", "bar1", "baz1"], ["foo1"]),
        (
            "^api_.*",
            ".*_sensitive$",
            ["api_read", "api_sensitive", "other"],
            ["api_read"],
        ),
        ("tool1", "", ["tool1", "tool1"], ["tool1", "tool1"]),
        (
            "start.*end",
            "",
            ["start_end", "start_middle_end", "start", "end"],
            ["start_end", "start_middle_end"],
        ),
        ("^prefix_", "_suffix$", ["prefix_tool", "prefix_suffix"], ["prefix_tool"]),
        (r"tool\[1\]", "", ["tool[1]", "tool1"], ["tool[1]"]),
        ("", "^(db_|file_)", ["db_x", "file_x", "api_x", "api_y"], ["api_x", "api_y"]),
        (
            "tool[12]",
            "tool[34]",
            ["tool1", "tool2", "tool3", "tool4"],
            ["tool1", "tool2"],
        ),
        ("^allowed$", "", ["allowed", "disallowed"], ["allowed"]),
    ],
)
def test_filter(allow: str, deny: str, names: list[str], expected: list[str]):
    assert kept(names, allow, deny) == expected


def test_conflict_of_patterns_is_logged(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert kept(["tool1"], "tool", "tool") == []
    assert "tool filtering conflict; marking tool disallowed" in caplog.text


# Names


def test_id_names_the_gateway_the_server_and_the_tool():
    assert tool_ids([("github", "list_issues")]) == ["bmcp_github_list_issues"]


def test_characters_that_providers_refuse_are_replaced():
    (tool_id,) = tool_ids([("s", "read.file/now ü")])
    assert tool_id == "bmcp_s_read_file_now__"


def test_long_names_end_with_a_hash():
    first, second = tool_ids([("s", "a" * 80), ("s", "a" * 81)])
    assert len(first) == len(second) == 64
    assert first != second


def test_names_that_became_equal_are_told_apart():
    names = [("s", "read.file"), ("s", "read/file"), ("s_read", "file"), ("s", "x")]
    ids = tool_ids(names)
    assert len(set(ids)) == 4
    assert ids[3] == "bmcp_s_x"
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool_id) for tool_id in ids)


def test_an_id_does_not_depend_on_the_order_of_tools():
    names = [("s", "a.b"), ("s", "a/b"), ("t", "c" * 70)]
    forward = dict(zip(names, tool_ids(names), strict=True))
    backward = dict(zip(names[::-1], tool_ids(names[::-1]), strict=True))
    assert forward == backward


# Sets


def server(name: str, **patterns: str) -> ServerConfig:
    return ServerConfig(name, f"http://127.0.0.1:1/{name}", **patterns)


def merged(*lists: tuple[ServerConfig, list[str]]):
    client = McpClient("http://127.0.0.1:1/")
    return merge((config, client, list(map(McpTool, names))) for config, names in lists)


def test_tools_of_all_servers_are_in_order_of_their_ids():
    tools = merged((server("shmoder"), ["b", "a"]), (server("coder"), ["z", "y"]))
    assert list(tools) == [
        "bmcp_coder_y",
        "bmcp_coder_z",
        "bmcp_shmoder_a",
        "bmcp_shmoder_b",
    ]


def test_each_server_has_its_own_patterns():
    tools = merged(
        (server("one", allow="^a"), ["a", "b"]), (server("two", deny="a"), ["a", "b"])
    )
    assert list(tools) == ["bmcp_one_a", "bmcp_two_b"]


def test_a_tool_listed_twice_counts_once():
    assert list(merged((server("s"), ["a", "a"]))) == ["bmcp_s_a"]


def test_secrets_of_a_server_are_not_shown():
    config = ServerConfig("s", "http://x", {"Authorization": "Bearer secret-value"})
    assert "secret-value" not in repr(config)

"""What made-up people ask, and what made-up models think and do."""

from __future__ import annotations

from dataclasses import dataclass

TASKS = (
    "fix the failing test in {place}",
    "why does {place} return 502 when the upstream is slow?",
    "add pagination to {place} and keep the old parameters working",
    "refactor {place}: the function is too long",
    "write a migration that adds an index for {place}",
    "explain what {place} does, in three sentences",
    "the build breaks since yesterday, look at {place} first",
    "rename the setting in {place} and update the docs",
    "review my changes in {place} and list what could go wrong",
    "make {place} faster, it takes {number} seconds for {number} rows",
    "add type hints to {place}",
    "reproduce issue #{number} and propose a fix in {place}",
)
PLACES = (
    "billing/invoices.py", "the login page", "search/index.ts", "the nightly job",
    "api/orders.go", "the export", "the cache layer", "webhooks/receiver.rb",
    "the payment form", "infra/main.tf", "the parser", "reports/monthly.sql",
    "the retry loop", "auth/session.rs", "the dashboard", "the importer",
)  # fmt: skip
RARE_WORDS = ("quasar", "marmalade", "zephyr", "obelisk", "tangent")
THOUGHTS = (
    "The test expects an ISO timestamp, but the code returns a naive one. I should "
    "look at where it is created before changing the test.",
    "There are two callers. Only one of them passes the new argument, so a default "
    "is needed.",
    "I will read the file first, then run the tests to see the failure myself.",
    "The error comes from the second request: the first one already closed the "
    "connection.",
    "The change is small. I should check the docs mention the old name as well.",
)
TOOLS = (
    ("Read", '{"file_path": "src/app.py", "limit": 200}'),
    ("Bash", '{"command": "pytest -q tests", "timeout": 120000}'),
    ("Edit", '{"file_path": "src/app.py", "old_string": "a", "new_string": "b"}'),
    ("Grep", '{"pattern": "def handle_", "path": "src"}'),
    ("shell", '{"command": ["bash", "-lc", "git status --short"]}'),
    ("apply_patch", '{"input": "*** Begin Patch\\n*** End Patch"}'),
)
MCP_TOOLS = (
    ("bmcp_tracker_list_issues", '{"state": "open", "limit": 20}'),
    ("bmcp_docs_search", '{"query": "retry policy"}'),
)
ERRORS = (
    ("rate_limited", 429, "all configured keys are rate-limited (retry after 12s)"),
    ("overloaded", 529, "Overloaded"),
    ("server_error", 502, "upstream closed the connection before the end"),
    ("bad_request", 400, "max_tokens: must be greater than 0"),
    ("timeout", 504, "no answer from upstream within 300 s"),
    ("unauthorized", 502, "all configured keys failed authentication"),
    ("unknown", 409, "unexpected answer"),
)
TOOL_ERROR = "tool timed out after 30 s"


@dataclass(frozen=True, slots=True)
class Tool:
    """A client, and how it talks."""

    client: str
    user_agent: str
    kind: str
    dialect: str
    route: str
    models: tuple[str, ...]
    weight: int


CLIENTS = (
    Tool(
        "Claude Code", "claude-cli/2.1.4 (external, cli)", "anthropic",
        "anthropic_messages", "v1/messages",
        ("claude-sonnet-4-5", "claude-opus-4-5", "claude-haiku-4-5"), 45,
    ),
    Tool(
        "Codex", "codex_cli_rs/0.62.0", "openai", "openai_responses", "v1/responses",
        ("gpt-5.2", "gpt-5.2-codex"), 25,
    ),
    Tool(
        "OpenCode", "opencode/1.0.120", "openai", "openai_chat",
        "v1/chat/completions", ("gpt-5.2", "gpt-4.1"), 10,
    ),
    Tool(
        "Kilo Code", "Kilo-Code/4.99.0", "anthropic", "anthropic_messages",
        "v1/messages", ("claude-sonnet-4-5",), 8,
    ),
    Tool(
        "GitHub Copilot (CLI)", "copilot/0.0.360", "copilot", "openai_chat",
        "chat/completions", ("gpt-4.1", "claude-sonnet-4-5"), 7,
    ),
    Tool(
        "Unknown", "python-httpx/0.28.1", "openai", "openai_chat",
        "v1/chat/completions", ("gpt-4.1-mini", "text-probe-1"), 5,
    ),
)  # fmt: skip

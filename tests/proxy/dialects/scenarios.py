"""Loads the fixtures of tests/fixtures/<dialect>/<scenario>/."""

from __future__ import annotations

from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
DIALECTS = ("anthropic_messages", "openai_chat", "openai_responses")


def load(dialect: str, scenario: str, name: str) -> bytes:
    return (FIXTURES / dialect / scenario / name).read_bytes()


def having(dialect: str, name: str) -> list[str]:
    """Return the scenarios of a dialect that have a file of that name."""
    return sorted(path.parent.name for path in (FIXTURES / dialect).glob(f"*/{name}"))


def all_having(name: str) -> list[tuple[str, str]]:
    return [(dialect, found) for dialect in DIALECTS for found in having(dialect, name)]

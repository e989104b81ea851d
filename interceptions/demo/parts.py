"""What belongs to one made-up interception: prompt, tokens, thoughts, tools, keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from uuid import UUID

from interceptions.demo import words
from interceptions.demo.columns import Tables
from interceptions.moments import first_id_at

_ATTEMPTS = {
    "rate_limited": "rate_limited",
    "overloaded": "overloaded",
    "server_error": "server_error",
    "timeout": "timeout",
    "unauthorized": "unauthorized",
}
_OWN_KEY = (None, "ghu_...4f2A")


@dataclass(frozen=True, slots=True)
class DemoProvider:
    """A stored provider as rows refer to it; ``keys`` are (id, hint)."""

    id: UUID
    name: str
    kind: str
    keys: list[tuple[UUID | None, str]] = field(default_factory=list)


def demo_id(random: Random, at: datetime) -> UUID:
    """Return a UUIDv7 of a moment, random beyond its millisecond."""
    bits = random.getrandbits(74)
    tail = (7 << 76) | ((bits >> 62) << 64) | (2 << 62) | (bits & (2**62 - 1))
    return UUID(int=first_id_at(at).int | tail)


class Parts:
    """Adds rows that belong to an interception; its moment is given each time."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.tables: Tables = {}

    def add_prompt(self, owner: UUID, at: datetime) -> str:
        """Add a prompt and return its text."""
        random = self._random
        text = random.choice(words.TASKS).format(
            place=random.choice(words.PLACES), number=random.randint(2, 9999)
        )
        if random.random() < 0.0005:
            text += f" and mention {random.choice(words.RARE_WORDS)}"
        self.tables["UserPrompt"].append((demo_id(random, at), owner, text, at))
        return text

    def add_tokens(self, owner: UUID, response: str, at: datetime) -> list[int]:
        """Add the tokens of one answer and return their four counts."""
        random = self._random
        most = (4000, 1500, 90_000, 3000)
        counts = [random.randint(0, each) for each in most]
        extra = f'{{"reasoning": {random.randint(0, 400)}}}'
        row = (demo_id(random, at), owner, 0, response, *counts, extra, "{}", at)
        self.tables["TokenUsage"].append(row)
        return counts

    def add_thought(self, owner: UUID, dialect: str, at: datetime) -> None:
        """Add what the model thought."""
        is_messages = dialect == "anthropic_messages"
        source = "thinking" if is_messages else "reasoning_summary"
        text = self._random.choice(words.THOUGHTS)
        row = (demo_id(self._random, at), owner, 0, source, text, at)
        self.tables["ModelThought"].append(row)

    def add_tools(self, owner: UUID, response: str, at: datetime) -> tuple[str, int]:
        """Add one or two tool calls; return the last one's id and how many."""
        count = self._random.choice((1, 1, 1, 2))
        calls = [self._add_tool(owner, response, at) for _ in range(count)]
        return calls[-1], count

    def _add_tool(self, owner: UUID, response: str, at: datetime) -> str:
        random = self._random
        call = f"toolu_{random.getrandbits(80):020x}"
        injected = random.random() < 0.06
        name, given = random.choice(words.MCP_TOOLS if injected else words.TOOLS)
        broken = injected and random.random() < 0.2
        server = ("tracker", "https://mcp.demo.invalid/") if injected else ("", "")
        self.tables["ToolUsage"].append(
            (
                demo_id(random, at), owner, 0, response, call, "", "function", name,
                given, *server, injected, words.TOOL_ERROR if broken else "",
                random.randint(20, 3000) if injected else None, at,
            )
        )  # fmt: skip
        return call

    def add_attempts(
        self,
        owner: UUID,
        provider: DemoProvider,
        at: datetime,
        error: tuple[str, int, str] | None,
    ) -> str:
        """Add the keys tried and return the last one's hint."""
        keys = provider.keys or [_OWN_KEY]
        tried = self._answers(len(keys), error)
        for position, (status, outcome, wait) in enumerate(tried):
            request = f"req_{self._random.getrandbits(64):016x}"
            key_id, hint = keys[position]
            self.tables["Attempt"].append(
                (
                    demo_id(self._random, at), owner, 0, position, key_id, hint,
                    status, outcome, wait, wait, request, "", at,
                    self._random.randint(90, 1400),
                )
            )  # fmt: skip
        return keys[len(tried) - 1][1]

    def _answers(
        self, keys: int, error: tuple[str, int, str] | None
    ) -> list[tuple[int, str, float | None]]:
        if error is not None:
            return [(error[1], _ATTEMPTS.get(error[0], "rejected"), None)]
        accepted = (200, "accepted", None)
        if keys > 1 and self._random.random() < 0.04:
            return [(429, "rate_limited", 12.0), accepted]
        return [accepted]

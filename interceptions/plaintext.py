"""Recorded text made safe to look at: prompts, tool arguments and names are foreign.

Escaping HTML is the template's job. This replaces what would act on a reader even when
escaped: control and ANSI codes, and marks that turn the direction of the text around.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

SHOWN = 4_000
"""Characters of a text that a page shows before "show all"."""

_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_MARKS = {
    "\u061c": "ALM",
    "\u200e": "LRM",
    "\u200f": "RLM",
    "\u2028": "LS",
    "\u2029": "PS",
    "\u202a": "LRE",
    "\u202b": "RLE",
    "\u202c": "PDF",
    "\u202d": "LRO",
    "\u202e": "RLO",
    "\u2066": "LRI",
    "\u2067": "RLI",
    "\u2068": "FSI",
    "\u2069": "PDI",
    "\ufeff": "BOM",
}


def _visible(match: re.Match[str]) -> str:
    char = match.group()
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"⟦{_MARKS.get(char, f'U+{code:04X}')}⟧"


def visible(text: str) -> str:
    """Return the text with every acting character shown as a symbol."""
    return _ACTING.sub(_visible, text.replace("\r\n", "\n"))


def pretty_json(text: str) -> str:
    """Return JSON text indented, or the text itself when it is no JSON."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(value, dict | list):
        return text
    return json.dumps(value, indent=2, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a text; ``size`` is the whole's length in characters."""

    text: str
    size: int

    @property
    def is_whole(self) -> bool:
        return self.size <= len(self.text)


def excerpt(
    text: str | None, *, size: int | None = None, shown: int = SHOWN
) -> Excerpt:
    """Return the start of a text that may itself be the start of a longer one."""
    text = text or ""
    return Excerpt(text[:shown], len(text) if size is None else size)

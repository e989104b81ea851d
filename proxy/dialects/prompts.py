"""Finds the user's prompt, and what a request continues, in a list of messages.

1. Only the last item counts; system and developer items behind it are skipped.
2. Text that consists of reminders only yields to any other text of the message.
3. No prompt (None) means that the request continues an agentic loop.
"""

from __future__ import annotations

import re
from typing import Any

from .base import Json
from .jsontext import as_object, as_objects, as_text

_OPENING = "<system-reminder>"
_CLOSING = "</system-reminder>"
_SPACES = re.compile(r"\s*")
_INSTRUCTION_ROLES = ("system", "developer")


def last_item(items: Any) -> Json:
    """Return the last message or input item that is no instruction, else {}."""
    if not isinstance(items, list):
        return {}
    for item in reversed(items):
        found = as_object(item)
        if found.get("role") not in _INSTRUCTION_ROLES:
            return found
    return {}


def last_text(content: Any) -> str | None:
    """Return the user's text: the content itself, or its last text block."""
    if isinstance(content, str):
        return as_text(content)
    texts = user_texts(content, "text")
    return texts[-1] if texts else None


def user_texts(content: Any, block_type: str) -> list[str]:
    """Return the texts of the blocks of one type, in order, without reminders."""
    texts = [
        as_text(block["text"])
        for block in as_objects(content)
        if block.get("type") == block_type and isinstance(block.get("text"), str)
    ]
    return [text for text in texts if not is_reminder(text)] or texts


def is_reminder(text: str) -> bool:
    """Say whether the text is nothing but ``<system-reminder>`` elements."""
    text = text.strip()
    place = 0
    while text.startswith(_OPENING, place):
        closing = text.find(_CLOSING, place)
        if closing < 0:
            return False
        place = _after_spaces(text, closing + len(_CLOSING))
    return 0 < place == len(text)


def _after_spaces(text: str, place: int) -> int:
    found = _SPACES.match(text, place)
    return found.end() if found else place

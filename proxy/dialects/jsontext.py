"""Reads foreign JSON without ever raising, and narrows what it finds to plain types.

Upstreams and clients send lone surrogates, huge numbers, deep nesting and broken
text; what comes out of here can be stored and compared.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from .base import Json

MOST_TOKENS = 10**12


def read_json(raw: bytes) -> Any:
    """Return the decoded value, or None when it is no JSON.

    Whole numbers beyond 64 bits may come back as floats: what is encoded again must
    be read with ``read_exact_json``.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return read_exact_json(raw)


def read_exact_json(raw: bytes) -> Any:
    """Return the decoded value with its numbers intact, or None; 4 times slower."""
    try:
        return json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def write_json(value: Any) -> str:
    """Return compact JSON that keeps order and numbers; "" when nested too deeply."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    except RecursionError:
        return ""
    return text


def as_object(value: Any) -> Json:
    """Return the value when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[Json]:
    """Return the objects of a list; nothing when it is no list."""
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict)]


def as_text(value: Any) -> str:
    """Return the value when it is text, else ""; lone surrogates are replaced."""
    if not isinstance(value, str):
        return ""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def as_count(value: Any) -> int:
    """Return a number of tokens: whole, not negative, below 10^12; else 0."""
    if type(value) is not int or not 0 <= value <= MOST_TOKENS:
        return 0
    return value


def is_truthy(value: Any) -> bool:
    """Read a boolean as lenient APIs do: true, "true", "1", "t", a number but 0."""
    if isinstance(value, str):
        return value.lower() in {"true", "1", "t"}
    return isinstance(value, (bool, int, float)) and bool(value)

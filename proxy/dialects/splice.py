"""Edits members of a JSON object in its text, and leaves every other byte as it was.

Clients' numbers, escapes, spacing and unknown fields survive, which re-encoding a
parsed body would not promise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from .jsontext import write_json

_SPACE = re.compile(r"[ \t\n\r]*")
_decoder = json.JSONDecoder()


class NotAnObject(ValueError):
    """The text is no JSON object."""


class Raw(str):
    """Text that is JSON already."""

    __slots__ = ()


class _Member(NamedTuple):
    """A member's name and where in the text it lies.

    ``start`` and ``tail`` are behind the punctuation before it and before that after
    it; ``value`` and ``end`` are its value's first and behind its last character.
    """

    name: str
    start: int
    value: int
    end: int
    tail: int


REMOVED: Any = object()
"""Stands for a member that is to be taken out."""


def edit_object(body: bytes, changes: Mapping[str, Any]) -> bytes:
    """Return the object's text with members replaced, added at the end or REMOVED.

    Values are encoded compactly unless they are Raw. Raises NotAnObject. A repeated
    member is replaced wherever it stands.
    """
    if not changes:
        return body
    text = _text(body)
    members = list(_members(text))
    named = {member.name for member in members}
    added = [
        f"{json.dumps(name)}:{_encode(value)}"
        for name, value in changes.items()
        if name not in named and value is not REMOVED
    ]
    parts = [*_kept(text, members, changes), *added]
    return _bytes(_opening(text) + ",".join(parts) + _closing(text, members))


def member_text(body: bytes, name: str) -> Raw | None:
    """Return the text of a member's value, None when there is no such member."""
    text = _text(body)
    found = [m for m in _members(text) if m.name == name]
    return Raw(text[found[-1].value : found[-1].end]) if found else None


def edit_member(body: bytes, name: str, changes: Mapping[str, Any]) -> bytes:
    """Return the text with members of the member ``name`` edited, if it is there."""
    inner = member_text(body, name)
    if inner is None:
        return body
    edited = _text(edit_object(_bytes(inner), changes))
    return edit_object(body, {name: Raw(edited)})


def extend_array(array: Raw, items: Sequence[Any], *, front: bool = False) -> Raw:
    """Return a JSON array's text with items added at its end, or its front."""
    inner = array.strip()[1:-1]
    old = [inner] if inner.strip() else []
    new = [_encode(item) for item in items]
    return Raw("[" + ",".join([*new, *old] if front else [*old, *new]) + "]")


def _kept(
    text: str, members: list[_Member], changes: Mapping[str, Any]
) -> Iterator[str]:
    for member in members:
        if member.name not in changes:
            yield text[member.start : member.tail]
        elif changes[member.name] is not REMOVED:
            head = text[member.start : member.value]
            yield head + _encode(changes[member.name])


def _opening(text: str) -> str:
    return text[: text.index("{") + 1]


def _closing(text: str, members: list[_Member]) -> str:
    return text[members[-1].tail if members else text.rindex("}") :]


def _members(text: str) -> Iterator[_Member]:
    """Yield the members of the object; raises NotAnObject when it is none."""
    try:
        start = _skip(text, 0)
        if text[start] != "{":
            raise NotAnObject
        while text[start] != "}" and text[_skip(text, start + 1)] != "}":
            member = _member(text, start + 1)
            yield member
            start = member.tail
    except (ValueError, IndexError, RecursionError) as error:
        raise NotAnObject("not a JSON object") from error


def _member(text: str, start: int) -> _Member:
    opening = _skip(text, start)
    name, at = scanstring(text, opening + 1, False)
    at = _skip(text, at)
    if text[opening] != '"' or text[at] != ":":
        raise NotAnObject
    value = _skip(text, at + 1)
    _, end = _decoder.raw_decode(text, value)
    tail = _skip(text, end)
    if text[tail] not in ",}":
        raise NotAnObject
    return _Member(name, start, value, end, tail)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _encode(value: Any) -> str:
    return str(value) if isinstance(value, Raw) else write_json(value)


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

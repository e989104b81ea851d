"""JSON for programs, written fast: a page of a long list is megabytes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder

_NATURALLY = JSONEncoder().default
# Characters that end a line for scripts and for readers of text, as JSON escapes them.
_LINE_ENDS = {
    "\u0085".encode(): rb"\u0085",
    "\u2028".encode(): rb"\u2028",
    "\u2029".encode(): rb"\u2029",
}


def json_bytes(value: Any) -> bytes:
    """Return compact JSON on one line; ids and times are text, times in UTC end in Z.

    Numbers may exceed 64 bits and text may hold half a surrogate pair, which orjson
    refuses; such a value is written by the standard library.
    """
    try:
        text = orjson.dumps(value, default=_NATURALLY, option=orjson.OPT_UTC_Z)
    except orjson.JSONEncodeError:
        return json.dumps(value, cls=JSONEncoder, separators=(",", ":")).encode()
    for character, escaped in _LINE_ENDS.items():
        # A single byte is found many times faster than two.
        if character[:1] in text:
            text = text.replace(character, escaped)
    return text


class FastJSONRenderer(JSONRenderer):
    """Django REST framework's JSON, compact, with the same values."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the answer's body; nothing where there is no answer."""
        return b"" if data is None else json_bytes(data)

"""The search syntax of ``q``: ``key:value`` elements, quotes, and one bare term.

Knows neither which keys exist nor what their values mean; ``filters`` does.

1. Elements are separated by spaces; double quotes protect spaces and colons.
2. Keys are case-insensitive. An element without a colon is the bare term, which
   belongs to the caller's default key.
3. An unquoted element with more than one colon, or with one at its start or end, is an
   error, so a timestamp must be quoted: ``started_after:"2026-01-01T00:00:00Z"``.
"""

from __future__ import annotations


class SearchError(ValueError):
    """The text is not in the search syntax; ``details`` says why, one line each."""

    def __init__(self, details: list[str]) -> None:
        super().__init__("; ".join(details))
        self.details = details


def parse_search(text: str, *, default_key: str | None = None) -> dict[str, str]:
    """Return the value of each key in the text; raises SearchError.

    ``default_key`` takes the bare term; None makes a bare term an error.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    for element in _split(text, " "):
        try:
            key, value = _read_element(element, default_key)
        except SearchError as error:
            problems += error.details
            continue
        if key in found:
            problems.append(f'search key "{key}" is given more than once')
        found[key] = value
    if problems:
        raise SearchError(problems)
    return found


def quote_value(value: str) -> str:
    """Return the value as it must be written after ``key:``."""
    return f'"{value}"' if set(value) & set(' :"') else value


def _read_element(element: str, default_key: str | None) -> tuple[str, str]:
    parts = _split(element, ":", keep_empty=True)
    if len(parts) == 1:
        if not _unquote(element):
            raise SearchError([f"search element {element!r} is empty"])
        if default_key is None:
            raise SearchError([f'no search key specified for "{_unquote(element)}"'])
        return default_key, _unquote(element)
    if len(parts) > 2:
        raise SearchError([f"search element {element!r} can only contain 1 ':'"])
    key, value = parts[0].strip('"').lower(), _unquote(parts[1])
    if not key or not value:
        raise SearchError([f"search element {element!r} cannot start or end with ':'"])
    return key, value


def _split(text: str, separator: str, *, keep_empty: bool = False) -> list[str]:
    """Split at separators that stand outside of quotes."""
    parts, quoted = [""], False
    for character in text:
        if character == '"':
            quoted = not quoted
        if character == separator and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    if quoted:
        raise SearchError(['a double quote (") is not closed'])
    return parts if keep_empty else [part for part in parts if part.strip()]


def _unquote(value: str) -> str:
    return value.strip().strip('"')

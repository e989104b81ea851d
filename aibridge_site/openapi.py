"""Finishes the API's description: what no single app can say of all of them.

Hooks of drf-spectacular, named in ``rest``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from interceptions.api import examples as reading
from providers.api import examples as managing
from proxy.api import examples as tokens

_REQUESTS = reading.REQUESTS | managing.REQUESTS | tokens.REQUESTS
_RESPONSES = reading.RESPONSES | managing.RESPONSES | tokens.RESPONSES
_BLANK = {"type": "string", "maxLength": 0}


def finish(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add examples and descriptions, and say what strict bodies refuse."""
    for operation in operations(result):
        _add_examples(operation)
        for status, response in operation["responses"].items():
            if not response["description"]:
                response["description"] = _SUCCESS.get(status, "Done.")
    for name, schema in result["components"]["schemas"].items():
        if name.endswith("Request"):
            schema["additionalProperties"] = False
            if name.endswith("PatchRequest"):
                schema["minProperties"] = 1
            for prop, value in schema["properties"].items():
                schema["properties"][prop] = _without_blank_twin(value)
    return result


_SUCCESS = {"200": "What was asked for.", "201": "What was made.", "204": "Done."}


def operations(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return every operation of a description."""
    for path in result["paths"].values():
        yield from path.values()


def _add_examples(operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    if name in _REQUESTS:
        _put(operation["requestBody"]["content"], _REQUESTS[name])
    if name in _RESPONSES:
        for status in {"200", "201"} & operation["responses"].keys():
            _put(operation["responses"][status]["content"], _RESPONSES[name])


def _put(content: dict[str, Any], example: Any) -> None:
    content["application/json"]["examples"] = {"example": {"value": example}}


def _without_blank_twin(schema: dict[str, Any]) -> dict[str, Any]:
    """Merge "text or empty text" into text: its pattern allows both already."""
    options = schema.get("oneOf", [])
    if _BLANK not in options:
        return schema
    (text,) = [option for option in options if option != _BLANK]
    rest = {name: value for name, value in schema.items() if name != "oneOf"}
    return rest | text

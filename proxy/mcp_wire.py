"""What MCP messages look like on HTTP: headers, answers, errors.

Pure but for reading a response; knows neither sessions nor protocol eras.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from proxy.dialects.jsontext import as_object, as_text, read_json
from proxy.sse import EventSplitter, read_event

_LARGEST_ANSWER = 32 * 1024 * 1024
TOO_LATE = "the MCP server did not answer in time"

Json = dict[str, Any]


class McpError(Exception):
    """A server could not be reached, did not speak MCP, or refused a call."""


class McpTimeout(McpError):
    """The server did not answer in time."""


class Refused(McpError):
    """An HTTP status or a JSON-RPC error; ``code`` is 0 without the latter."""

    def __init__(self, status: int, code: int, message: str, data: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.data = data


def header_value(value: str) -> str:
    """Return text as a header may carry it; what would not survive goes in base64."""
    plain = value.isascii() and value.isprintable() and value == value.strip()
    if plain and not value.startswith("=?base64?"):
        return value
    return f"=?base64?{b64encode(value.encode()).decode()}?="


def mirrored_parameters(schema: Json) -> dict[tuple[str, ...], str]:
    """Return the paths of arguments that a server wants to see in headers as well.

    Maps each path to the header's last part (``x-mcp-header`` in the schema).
    """
    found: dict[tuple[str, ...], str] = {}
    waiting: list[tuple[tuple[str, ...], Json]] = [((), schema)]
    while waiting:
        path, position = waiting.pop()
        if token := as_text(position.get("x-mcp-header")):
            found[path] = token
        for name, inner in as_object(position.get("properties")).items():
            waiting.append(((*path, name), as_object(inner)))
    return found


def parameter_headers(
    paths: Mapping[tuple[str, ...], str], arguments: Json
) -> dict[str, str]:
    headers = {}
    for path, token in paths.items():
        value: Any = arguments
        for name in path:
            value = as_object(value).get(name)
        if isinstance(value, bool):
            headers[f"MCP-Param-{token}"] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            headers[f"MCP-Param-{token}"] = header_value(str(value))
    return headers


def read_result(response: httpx.Response, request_id: Any, deadline: float) -> Json:
    """Return the result of the answer; raises Refused for an error."""
    kind = response.headers.get("content-type", "").lower()
    if response.is_redirect:
        raise Refused(response.status_code, 0, "the MCP server redirects", None)
    if kind.startswith("text/event-stream") and response.status_code < 400:
        return _outcome(_answer_in_stream(response, request_id, deadline), 200)
    body = b"".join(_limited(response, deadline))
    answer = read_json(body) if kind.startswith("application/json") else None
    return _outcome(as_object(answer), response.status_code)


def _outcome(answer: Json, status: int) -> Json:
    result = answer.get("result")
    if status >= 400 or not isinstance(result, dict):
        raise refusal(status, answer)
    return result


def refusal(status: int, answer: Json | None) -> Refused:
    error = as_object((answer or {}).get("error"))
    code = error.get("code")
    message = as_text(error.get("message")) or f"the MCP server answered {status}"
    return Refused(
        status, code if isinstance(code, int) else 0, message, error.get("data")
    )


def _answer_in_stream(
    response: httpx.Response, request_id: Any, deadline: float
) -> Json:
    splitter = EventSplitter()
    for chunk in _limited(response, deadline):
        for raw in splitter.feed(chunk):
            message = as_object(read_json(read_event(raw)[1] or b"null"))
            if "method" not in message and message.get("id") == request_id:
                return message
    raise McpError("the MCP server closed its stream without an answer")


def _limited(response: httpx.Response, deadline: float) -> Iterator[bytes]:
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > _LARGEST_ANSWER:
            raise McpError("the MCP server's answer is too large")
        if time.monotonic() > deadline:
            raise McpTimeout(TOO_LATE)
        yield chunk


@contextmanager
def as_mcp_errors() -> Iterator[None]:
    """Turn what the transport raises into McpError."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise McpTimeout(TOO_LATE) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise McpError(f"the MCP server is not reachable: {error}") from error

"""Reads a request of any API and makes up what the model says to it; pure.

It echoes the prompt, thinks when asked to, asks for an offered tool when the prompt
says "use the NAME tool", and tells what a tool returned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from proxy.demo.answers import CHAT, RESPONSES
from proxy.demo.reply import Json, Reply, ToolRequest

_USE_TOOL = re.compile(r"\buse the [`'\"]?([\w.-]+)[`'\"]? tool\b", re.IGNORECASE)
_WORDS = re.compile(r"\S+\s*")
_ECHOED = 240
_EXAMPLES: Json = {
    "string": "demo",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}


class NotAConversation(ValueError):
    """The body is not a request of this API; the message is for the client."""


def reply_to(api: str, body: Json, *, reply_id: str, created: int) -> Reply:
    """Return what the made-up model says; raises NotAConversation."""
    model = body.get("model")
    items = _items(api, body)
    if not isinstance(model, str) or not model:
        raise NotAConversation("model: Field required")
    prompt, tool_result = _last_words(items)
    tool = None if tool_result is not None else _wanted_tool(body, prompt)
    text = () if tool else _words(_say(prompt, tool_result))
    thinking = _words(_think(prompt, tool)) if _should_think(api, body) else ()
    arguments = len(json.dumps(tool.arguments)) // 4 if tool else 0
    return Reply(
        id=reply_id,
        model=model,
        text=text,
        thinking=thinking,
        tool=tool,
        input_tokens=count_tokens(body),
        output_tokens=len(text) + len(thinking) + arguments + 3,
        created=created,
    )


def count_tokens(body: Json) -> int:
    """Return a believable number of input tokens, about four bytes each."""
    counted = {
        k: body[k] for k in ("system", "messages", "input", "tools") if k in body
    }
    return 3 + len(json.dumps(counted)) // 4


def _items(api: str, body: Json) -> list[Json]:
    name = "input" if api == RESPONSES else "messages"
    items = body.get(name)
    if isinstance(items, str) and api == RESPONSES:
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise NotAConversation(f"{name}: Field required")
    return items


def _last_words(items: list[Json]) -> tuple[str, str | None]:
    """Return the last user prompt, and a tool's result if that came after it."""
    tool_result = None
    for item in reversed(items):
        if tool_result is None:
            tool_result = _tool_result(item)
        if item.get("role") == "user" and (prompt := _text(item.get("content"))):
            return prompt, tool_result
    return "", tool_result


def _tool_result(item: Json) -> str | None:
    if item.get("role") == "tool":
        return _text(item.get("content"))
    if str(item.get("type", "")).endswith("_call_output"):
        return _text(item.get("output"))
    content = item.get("content")
    for block in content if isinstance(content, list) else []:
        if isinstance(block, dict) and block.get("type") == "tool_result":
            return _text(block.get("content"))
    return None


def _text(content: Any) -> str:
    """Return the text of a string or of a list of text blocks."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    texts = (block.get("text") for block in blocks if isinstance(block, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def _say(prompt: str, tool_result: str | None) -> str:
    if tool_result is not None:
        return f"The tool returned: {_shorten(tool_result)}. That answers the question."
    return (
        f"You said: \u201c{_shorten(prompt)}\u201d. I am the demo provider: I run on "
        "this machine, know nothing and make my answers up. Add a real provider with "
        "a key of yours, and its models answer here instead of me."
    )


def _think(prompt: str, tool: ToolRequest | None) -> str:
    plan = f"call {tool.name}" if tool else "say so and repeat the prompt"
    return f"The user wrote {len(prompt)} characters. The best I can do is to {plan}."


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _ECHOED else text[: _ECHOED - 1] + "\u2026"


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORDS.findall(text))


def _should_think(api: str, body: Json) -> bool:
    if api == CHAT:
        return False
    if api == RESPONSES:
        reasoning = body.get("reasoning")
        return isinstance(reasoning, dict) and any(reasoning.values())
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") != "disabled"


def _wanted_tool(body: Json, prompt: str) -> ToolRequest | None:
    wanted = _USE_TOOL.search(prompt)
    for name, schema in _offered_tools(body):
        if wanted and name.lower() == wanted[1].lower():
            return ToolRequest(name, _example(schema, prompt))
    return None


def _offered_tools(body: Json) -> Iterator[tuple[str, Json]]:
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else []:
        described = tool.get("function", tool) if isinstance(tool, dict) else {}
        schema = described.get("input_schema") or described.get("parameters") or {}
        yield str(described.get("name", "")), schema if isinstance(schema, dict) else {}


def _example(schema: Json, prompt: str) -> Any:
    """Return arguments that fit a JSON schema well enough to call the tool."""
    if schema.get("enum"):
        return schema["enum"][0]
    properties = schema.get("properties")
    if isinstance(properties, dict):
        required = schema.get("required") or list(properties)
        return {n: _example(properties[n], prompt) for n in required if n in properties}
    kind = schema.get("type", "object")
    if kind == "string":
        return schema.get("default", _quoted(prompt))
    return schema.get("default", _EXAMPLES.get(str(kind), {}))


def _quoted(prompt: str) -> str:
    """Return what the prompt has in quotes, for a string argument."""
    quoted = re.search(r"[\"\u201c']([^\"\u201d']+)[\"\u201d']", prompt)
    return quoted[1] if quoted else "demo"

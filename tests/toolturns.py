"""Upstream answers with text and tool calls, in each API, whole or streamed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.answers import Answer, SeenRequest

Call = tuple[str, str, dict[str, Any]]
"""Id, name and arguments of a tool call."""

EVENT_STREAM = {"content-type": "text/event-stream"}


def say(
    request: SeenRequest,
    text: str = "",
    calls: Sequence[Call] = (),
    *,
    input_tokens: int = 10,
    output_tokens: int = 5,
    **options: Any,
) -> Answer:
    """Return an answer in the API and mode of a request."""
    number = f"{request.number}"
    build = {
        "anthropic_messages": _messages,
        "openai_chat": _chat,
        "openai_responses": _responses,
    }[request.api or ""]
    body, events = build(number, text, calls, input_tokens, output_tokens)
    if request.streaming:
        return Answer(chunks=events, headers=EVENT_STREAM, **options)
    return Answer(json=body, **options)


def tool_results(request: SeenRequest) -> list[str]:
    """Return the texts of all tool results in a request, in order."""
    body = request.json()
    items = body.get("messages") or body.get("input")
    found = []
    for item in items if isinstance(items, list) else ():
        if item.get("role") == "tool":
            found.append(item["content"])
        elif item.get("type") == "function_call_output":
            found.append(item["output"])
        elif isinstance(item.get("content"), list):
            found += [
                json.dumps(block["content"])
                for block in item["content"]
                if block.get("type") == "tool_result"
            ]
    return found


def _event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _messages(
    number: str, text: str, calls: Sequence[Call], given: int, made: int
) -> tuple[Any, list[bytes]]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    blocks += [
        {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
        for call_id, name, arguments in calls
    ]
    reason = "tool_use" if calls else "end_turn"
    message = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-5",
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": given, "output_tokens": made},
    }
    start = message | {"content": [], "stop_reason": None}
    start["usage"] = {"input_tokens": given, "output_tokens": 1}
    events = [_event("message_start", message=start)]
    for index, block in enumerate(blocks):
        events += _block(index, block)
    delta = {"stop_reason": reason, "stop_sequence": None}
    events.append(_event("message_delta", delta=delta, usage={"output_tokens": made}))
    return message, [*events, _event("message_stop")]


def _block(index: int, block: dict[str, Any]) -> list[bytes]:
    if block["type"] == "text":
        start = {**block, "text": ""}
        delta = {"type": "text_delta", "text": block["text"]}
    else:
        start = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    return [
        _event("content_block_start", index=index, content_block=start),
        _event("content_block_delta", index=index, delta=delta),
        _event("content_block_stop", index=index),
    ]


def _chat(
    number: str, text: str, calls: Sequence[Call], given: int, made: int
) -> tuple[Any, list[bytes]]:
    entries = [
        {
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for call_id, name, arguments in calls
    ]
    head = {"id": f"chatcmpl-{number}", "created": 1, "model": "gpt-4.1"}
    usage = {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
    }
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if entries:
        message["tool_calls"] = entries
    finish = "tool_calls" if calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = head | {"object": "chat.completion", "choices": [choice], "usage": usage}
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": "" if text else None}, None)
    ]
    if text:
        deltas.append(({"content": text}, None))
    for index, entry in enumerate(entries):
        deltas.append(({"tool_calls": [{"index": index, **entry}]}, None))
    deltas.append(({}, finish))
    head |= {"object": "chat.completion.chunk"}
    chunks = [
        head | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    chunks.append(head | {"choices": [], "usage": usage})
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return body, [*events, b"data: [DONE]\n\n"]


def _responses(
    number: str, text: str, calls: Sequence[Call], given: int, made: int
) -> tuple[Any, list[bytes]]:
    items: list[dict[str, Any]] = []
    if text:
        part = {"type": "output_text", "text": text, "annotations": []}
        items.append(
            {
                "type": "message",
                "id": f"msg_{number}",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        )
    items += [
        {
            "type": "function_call",
            "id": f"fc_{call_id}",
            "call_id": call_id,
            "name": name,
            "arguments": json.dumps(arguments),
            "status": "completed",
        }
        for call_id, name, arguments in calls
    ]
    body = {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1,
        "model": "gpt-5.2",
        "status": "completed",
        "output": items,
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + made,
        },
    }
    started = body | {"status": "in_progress", "output": [], "usage": None}
    events = [_event("response.created", sequence_number=0, response=started)]
    for index, item in enumerate(items):
        events += _item(index, item)
    events.append(_event("response.completed", sequence_number=99, response=body))
    return body, events


def _item(index: int, item: dict[str, Any]) -> list[bytes]:
    where = {"output_index": index, "sequence_number": index}
    if item["type"] == "function_call":
        return [
            _event(
                "response.output_item.added", item={**item, "arguments": ""}, **where
            ),
            _event(
                "response.function_call_arguments.done",
                item_id=item["id"],
                name=item["name"],
                arguments=item["arguments"],
                **where,
            ),
            _event("response.output_item.done", item=item, **where),
        ]
    part = item["content"][0]
    inner = {"item_id": item["id"], "content_index": 0, **where}
    return [
        _event("response.output_item.added", item={**item, "content": []}, **where),
        _event("response.content_part.added", part={**part, "text": ""}, **inner),
        _event("response.output_text.delta", delta=part["text"], logprobs=[], **inner),
        _event("response.output_text.done", text=part["text"], logprobs=[], **inner),
        _event("response.content_part.done", part=part, **inner),
        _event("response.output_item.done", item=item, **where),
    ]

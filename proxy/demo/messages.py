"""Answers in the shape of Anthropic's Messages API; pure."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.demo.reply import Json, Reply, json_pieces, sse_event


def _usage(reply: Reply, output_tokens: int) -> Json:
    return {
        "input_tokens": reply.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _content(reply: Reply) -> list[Json]:
    content: list[Json] = []
    if reply.thinking:
        content.append(
            {
                "type": "thinking",
                "thinking": reply.whole_thinking,
                "signature": "ZGVtbw==",
            }
        )
    if reply.text:
        content.append({"type": "text", "text": reply.whole_text})
    if reply.tool is not None:
        content.append(
            {
                "type": "tool_use",
                "id": f"toolu_{reply.id}",
                "name": reply.tool.name,
                "input": reply.tool.arguments,
            }
        )
    return content


def messages_body(reply: Reply) -> Json:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": _content(reply),
        "stop_reason": "tool_use" if reply.tool else "end_turn",
        "stop_sequence": None,
        "usage": _usage(reply, reply.output_tokens),
    }


def messages_events(reply: Reply) -> Iterator[bytes]:
    whole = messages_body(reply)
    start = whole | {
        "content": [],
        "stop_reason": None,
        "usage": _usage(reply, 1),
    }
    yield sse_event({"type": "message_start", "message": start})
    for index, block in enumerate(whole["content"]):
        yield from _block_events(index, block, reply)
        if index == 0:
            yield sse_event({"type": "ping"})
    yield sse_event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": reply.output_tokens},
        }
    )
    yield sse_event({"type": "message_stop"})


def _block_events(index: int, block: Json, reply: Reply) -> Iterator[bytes]:
    empty: Json
    if block["type"] == "thinking":
        empty = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": t} for t in reply.thinking]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif block["type"] == "text":
        empty = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": text} for text in reply.text]
    else:
        empty = block | {"input": {}}
        deltas = [
            {"type": "input_json_delta", "partial_json": piece}
            for piece in ["", *json_pieces(block["input"])]
        ]
    yield sse_event(
        {"type": "content_block_start", "index": index, "content_block": empty}
    )
    for delta in deltas:
        yield sse_event({"type": "content_block_delta", "index": index, "delta": delta})
    yield sse_event({"type": "content_block_stop", "index": index})

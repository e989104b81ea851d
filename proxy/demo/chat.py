"""Answers in the shape of OpenAI's Chat Completions API; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from proxy.demo.reply import Json, Reply, ToolRequest, json_pieces, sse_data


def _frame(reply: Reply, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{reply.id}",
        "object": kind,
        "created": reply.created,
        "model": reply.model,
        "system_fingerprint": "fp_demo",
    }


def _usage(reply: Reply) -> Json:
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _tool(reply: Reply, tool: ToolRequest) -> Json:
    return {
        "id": f"call_{reply.id}",
        "type": "function",
        "function": {"name": tool.name, "arguments": json.dumps(tool.arguments)},
    }


def chat_body(reply: Reply) -> Json:
    message: Json = {
        "role": "assistant",
        "content": reply.whole_text or None,
        "refusal": None,
    }
    if reply.tool is not None:
        message["tool_calls"] = [_tool(reply, reply.tool)]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "tool_calls" if reply.tool else "stop",
    }
    return _frame(reply, "chat.completion") | {
        "choices": [choice],
        "usage": _usage(reply),
    }


def _deltas(reply: Reply) -> Iterator[Json]:
    yield {"role": "assistant", "content": "", "refusal": None}
    for text in reply.text:
        yield {"content": text}
    if reply.tool is not None:
        call = _tool(reply, reply.tool)
        call["function"] |= {"arguments": ""}
        yield {"tool_calls": [{"index": 0} | call]}
        for piece in json_pieces(reply.tool.arguments):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def chat_events(reply: Reply, include_usage: bool) -> Iterator[bytes]:
    frame = _frame(reply, "chat.completion.chunk")
    if include_usage:
        frame["usage"] = None

    def chunk(delta: Json, finish_reason: str | None) -> bytes:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return sse_data(frame | {"choices": [choice]})

    for delta in _deltas(reply):
        yield chunk(delta, None)
    yield chunk({}, "tool_calls" if reply.tool else "stop")
    if include_usage:
        yield sse_data(frame | {"choices": [], "usage": _usage(reply)})
    yield b"data: [DONE]\n\n"

"""What answers of the three APIs look like, made from one plain description.

Pure; used by the demo provider and by the tests' fake upstream. Knows no HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

MESSAGES = "anthropic_messages"
CHAT = "openai_chat"
RESPONSES = "openai_responses"


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool the made-up model asks for."""

    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Reply:
    """What a made-up model says; ``text`` and ``thinking`` come in these pieces.

    ``id`` is the bare part: each API puts its own prefix before it.
    """

    id: str
    model: str
    text: tuple[str, ...]
    thinking: tuple[str, ...] = ()
    tool: ToolRequest | None = None
    input_tokens: int = 12
    output_tokens: int = 34
    created: int = 1_750_000_000

    @property
    def whole_text(self) -> str:
        return "".join(self.text)

    @property
    def whole_thinking(self) -> str:
        return "".join(self.thinking)


def answer_body(api: str, reply: Reply) -> Json:
    """Return the body of a blocking answer."""
    return _BODIES[api](reply)


def answer_events(
    api: str, reply: Reply, *, include_usage: bool = True
) -> Iterator[bytes]:
    """Yield a streamed answer, one whole server-sent event at a time.

    ``include_usage`` is Chat's stream option of that name.
    """
    if api == CHAT:
        return _chat_events(reply, include_usage)
    return _messages_events(reply) if api == MESSAGES else _Responses(reply).events()


def error_body(api: str, error_type: str, message: str) -> Json:
    """Return an error in the API's own envelope."""
    if api == MESSAGES:
        return {"type": "error", "error": {"type": error_type, "message": message}}
    error = {"message": message, "type": error_type, "param": None, "code": error_type}
    return {"error": error}


def _event(data: Json) -> bytes:
    return b"event: %s\n%s" % (data["type"].encode(), _data(data))


def _data(data: Json) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def _json_pieces(value: Json) -> list[str]:
    text = json.dumps(value)
    return [text[at : at + 12] for at in range(0, len(text), 12)]


# Anthropic Messages


def _messages_usage(reply: Reply, output_tokens: int) -> Json:
    return {
        "input_tokens": reply.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _messages_content(reply: Reply) -> list[Json]:
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


def _messages_body(reply: Reply) -> Json:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": _messages_content(reply),
        "stop_reason": "tool_use" if reply.tool else "end_turn",
        "stop_sequence": None,
        "usage": _messages_usage(reply, reply.output_tokens),
    }


def _messages_events(reply: Reply) -> Iterator[bytes]:
    whole = _messages_body(reply)
    start = whole | {
        "content": [],
        "stop_reason": None,
        "usage": _messages_usage(reply, 1),
    }
    yield _event({"type": "message_start", "message": start})
    for index, block in enumerate(whole["content"]):
        yield from _block_events(index, block, reply)
        if index == 0:
            yield _event({"type": "ping"})
    yield _event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": reply.output_tokens},
        }
    )
    yield _event({"type": "message_stop"})


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
            for piece in ["", *_json_pieces(block["input"])]
        ]
    yield _event(
        {"type": "content_block_start", "index": index, "content_block": empty}
    )
    for delta in deltas:
        yield _event({"type": "content_block_delta", "index": index, "delta": delta})
    yield _event({"type": "content_block_stop", "index": index})


# OpenAI Chat Completions


def _chat_frame(reply: Reply, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{reply.id}",
        "object": kind,
        "created": reply.created,
        "model": reply.model,
        "system_fingerprint": "fp_demo",
    }


def _chat_usage(reply: Reply) -> Json:
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _chat_tool(reply: Reply, tool: ToolRequest) -> Json:
    return {
        "id": f"call_{reply.id}",
        "type": "function",
        "function": {"name": tool.name, "arguments": json.dumps(tool.arguments)},
    }


def _chat_body(reply: Reply) -> Json:
    message: Json = {
        "role": "assistant",
        "content": reply.whole_text or None,
        "refusal": None,
    }
    if reply.tool is not None:
        message["tool_calls"] = [_chat_tool(reply, reply.tool)]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "tool_calls" if reply.tool else "stop",
    }
    return _chat_frame(reply, "chat.completion") | {
        "choices": [choice],
        "usage": _chat_usage(reply),
    }


def _chat_deltas(reply: Reply) -> Iterator[Json]:
    yield {"role": "assistant", "content": "", "refusal": None}
    for text in reply.text:
        yield {"content": text}
    if reply.tool is not None:
        call = _chat_tool(reply, reply.tool)
        call["function"] |= {"arguments": ""}
        yield {"tool_calls": [{"index": 0} | call]}
        for piece in _json_pieces(reply.tool.arguments):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def _chat_events(reply: Reply, include_usage: bool) -> Iterator[bytes]:
    frame = _chat_frame(reply, "chat.completion.chunk")
    if include_usage:
        frame["usage"] = None

    def chunk(delta: Json, finish_reason: str | None) -> bytes:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return _data(frame | {"choices": [choice]})

    for delta in _chat_deltas(reply):
        yield chunk(delta, None)
    yield chunk({}, "tool_calls" if reply.tool else "stop")
    if include_usage:
        yield _data(frame | {"choices": [], "usage": _chat_usage(reply)})
    yield b"data: [DONE]\n\n"


# OpenAI Responses


def _responses_frame(reply: Reply) -> Json:
    return {
        "id": f"resp_{reply.id}",
        "object": "response",
        "created_at": reply.created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": reply.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
    }


def _responses_output(reply: Reply) -> list[Json]:
    output: list[Json] = []
    if reply.thinking:
        summary = {"type": "summary_text", "text": reply.whole_thinking}
        output.append({"id": f"rs_{reply.id}", "type": "reasoning"})
        output[-1]["summary"] = [summary]
    if reply.text:
        message = {"id": f"msg_{reply.id}", "type": "message", "status": "completed"}
        part = {"type": "output_text", "annotations": [], "logprobs": []}
        part["text"] = reply.whole_text
        output.append(message | {"role": "assistant", "content": [part]})
    if reply.tool is not None:
        call = {"id": f"fc_{reply.id}", "type": "function_call", "status": "completed"}
        call |= {"call_id": f"call_{reply.id}", "name": reply.tool.name}
        output.append(call | {"arguments": json.dumps(reply.tool.arguments)})
    return output


def _responses_body(reply: Reply) -> Json:
    usage = {
        "input_tokens": reply.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"reasoning_tokens": len(reply.thinking)},
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }
    return _responses_frame(reply) | {
        "status": "completed",
        "output": _responses_output(reply),
        "usage": usage,
    }


class _Responses:
    """The events of one response; every event carries the next sequence number."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._sequence = -1

    def events(self) -> Iterator[bytes]:
        frame = _responses_frame(self._reply)
        yield self._event("response.created", response=frame)
        yield self._event("response.in_progress", response=frame)
        item_events = {
            "reasoning": self._reasoning,
            "message": self._message,
            "function_call": self._function_call,
        }
        for index, item in enumerate(_responses_output(self._reply)):
            yield from item_events[item["type"]](item, index)
            yield self._event(
                "response.output_item.done", output_index=index, item=item
            )
        yield self._event("response.completed", response=_responses_body(self._reply))

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._sequence += 1
        return _event({"type": kind, "sequence_number": self._sequence, **fields})

    def _reasoning(self, item: Json, index: int) -> Iterator[bytes]:
        yield self._added(item | {"summary": []}, index)
        at = {"item_id": item["id"], "output_index": index, "summary_index": 0}
        part = item["summary"][0]
        prefix = "response.reasoning_summary"
        yield self._event(f"{prefix}_part.added", part=part | {"text": ""}, **at)
        for text in self._reply.thinking:
            yield self._event(f"{prefix}_text.delta", delta=text, **at)
        yield self._event(f"{prefix}_text.done", text=part["text"], **at)
        yield self._event(f"{prefix}_part.done", part=part, **at)

    def _message(self, item: Json, index: int) -> Iterator[bytes]:
        yield self._added(item | {"status": "in_progress", "content": []}, index)
        at = {"item_id": item["id"], "output_index": index, "content_index": 0}
        part = item["content"][0]
        empty = part | {"text": ""}
        yield self._event("response.content_part.added", part=empty, **at)
        for text in self._reply.text:
            yield self._event(
                "response.output_text.delta", delta=text, logprobs=[], **at
            )
        yield self._event(
            "response.output_text.done", text=part["text"], logprobs=[], **at
        )
        yield self._event("response.content_part.done", part=part, **at)

    def _function_call(self, item: Json, index: int) -> Iterator[bytes]:
        yield self._added(item | {"status": "in_progress", "arguments": ""}, index)
        at = {"item_id": item["id"], "output_index": index}
        prefix = "response.function_call_arguments"
        for piece in _json_pieces(json.loads(item["arguments"])):
            yield self._event(f"{prefix}.delta", delta=piece, **at)
        done = {"name": item["name"], "arguments": item["arguments"]}
        yield self._event(f"{prefix}.done", **done, **at)

    def _added(self, item: Json, index: int) -> bytes:
        return self._event("response.output_item.added", output_index=index, item=item)


_BODIES: dict[str, Callable[[Reply], Json]] = {
    MESSAGES: _messages_body,
    CHAT: _chat_body,
    RESPONSES: _responses_body,
}

"""Answers in the shape of OpenAI's Responses API; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from proxy.demo.reply import Json, Reply, json_pieces, sse_event


def _frame(reply: Reply) -> Json:
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


def _output(reply: Reply) -> list[Json]:
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


def responses_body(reply: Reply) -> Json:
    usage = {
        "input_tokens": reply.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"reasoning_tokens": len(reply.thinking)},
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }
    return _frame(reply) | {
        "status": "completed",
        "output": _output(reply),
        "usage": usage,
    }


class _Responses:
    """The events of one response; every event carries the next sequence number."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._sequence = -1

    def events(self) -> Iterator[bytes]:
        frame = _frame(self._reply)
        yield self._event("response.created", response=frame)
        yield self._event("response.in_progress", response=frame)
        item_events = {
            "reasoning": self._reasoning,
            "message": self._message,
            "function_call": self._function_call,
        }
        for index, item in enumerate(_output(self._reply)):
            yield from item_events[item["type"]](item, index)
            yield self._event(
                "response.output_item.done", output_index=index, item=item
            )
        yield self._event("response.completed", response=responses_body(self._reply))

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._sequence += 1
        return sse_event({"type": kind, "sequence_number": self._sequence, **fields})

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
        for piece in json_pieces(json.loads(item["arguments"])):
            yield self._event(f"{prefix}.delta", delta=piece, **at)
        done = {"name": item["name"], "arguments": item["arguments"]}
        yield self._event(f"{prefix}.done", **done, **at)

    def _added(self, item: Json, index: int) -> bytes:
        return self._event("response.output_item.added", output_index=index, item=item)


def responses_events(reply: Reply) -> Iterator[bytes]:
    return _Responses(reply).events()

"""The OpenAI Chat Completions API, as OpenAI and those who imitate it speak it.

1. A stream is whole after ``[DONE]``, or when its body ended properly and every
   choice has its finish reason, since some imitators send no ``[DONE]``.
2. Token usage arrives only when asked for: the request is made to ask.
3. Text deltas are told by their bytes: what begins and ends like one that was read
   in full, with no quote between, differs from it in its text only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .base import BadRequestBody, BridgedRequest, Json, ToolCall, Turn, Usage
from .envelopes import openai_error
from .faults import not_an_answer, read_error, turn_error
from .jsontext import (
    as_count,
    as_object,
    as_objects,
    as_text,
    is_truthy,
    read_exact_json,
    read_json,
    write_json,
)
from .prompts import last_item, last_text
from .stream import EventReader

_TEXT_OPENING = re.compile(rb'"content":\s*"')
_OBFUSCATION = re.compile(rb'"obfuscation":\s*"')


class OpenAIChat:
    """The dialect behind ``/v1/chat/completions``."""

    name: ClassVar[str] = "openai_chat"
    heartbeat: ClassVar[bytes] = b": keep-alive\n\n"

    def read_request(self, body: bytes) -> BridgedRequest:
        """Read a client's body; raises BadRequestBody naming what is wrong."""
        parsed = _parse(body)
        streaming = is_truthy(parsed.get("stream"))
        last = last_item(parsed.get("messages"))
        return BridgedRequest(
            body=_asking_for_usage(body, parsed) if streaming else body,
            parsed=parsed,
            model=as_text(parsed.get("model")),
            streaming=streaming,
            prompt=_prompt(last),
            correlating_tool_call_id=_correlating_id(last),
        )

    def stream_reader(self) -> ChatReader:
        """Return a fresh reader for one streamed answer."""
        return ChatReader()

    def read_answer(self, body: bytes) -> Turn:
        """Read a whole, non-streamed answer of status 200."""
        data = read_json(body)
        if not isinstance(data, dict):
            return Turn(error=not_an_answer())
        if data.get("error"):
            return Turn(error=turn_error(data))
        turn = Turn(response_id=as_text(data.get("id")))
        turn.model = as_text(data.get("model"))
        turn.usage = _usage(as_object(data.get("usage")))
        for choice in as_objects(data.get("choices")):
            reason = as_text(choice.get("finish_reason"))
            turn.stop_reason = turn.stop_reason or reason
            message = as_object(choice.get("message"))
            turn.tool_calls += [call.tool_call() for call in _calls(message)]
        return turn

    def read_error(self, body: bytes) -> tuple[str, str, str]:
        """Return (type, code, message) of an upstream error body."""
        return read_error(body)

    def error_body(self, status: int, message: str, *, error_type: str = "") -> bytes:
        """Return an error in OpenAI's envelope."""
        error = openai_error(status, message, error_type)
        return write_json({"error": error}).encode()

    def error_event(self, status: int, message: str, *, error_type: str = "") -> bytes:
        """Return the error as a chunk on which SDKs raise, and the end marker."""
        body = self.error_body(status, message, error_type=error_type)
        return b"data: " + body + b"\n\ndata: [DONE]\n\n"


@dataclass(slots=True, eq=False)
class _Call:
    """One tool call; ``parts`` are its arguments as they come."""

    index: int = 0
    id: str = ""
    name: str = ""
    kind: str = "function"
    parts: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, entry: Json) -> _Call:
        kind = "custom" if isinstance(entry.get("custom"), dict) else "function"
        spec = as_object(entry.get(kind))
        given = spec.get("input" if kind == "custom" else "arguments")
        return cls(
            index=as_count(entry.get("index")),
            id=as_text(entry.get("id")),
            name=as_text(spec.get("name")),
            kind=kind,
            parts=[_arguments(given)],
        )

    def absorb(self, other: _Call) -> None:
        self.id = self.id or other.id
        self.name = self.name or other.name
        if other.kind == "custom":
            self.kind = other.kind
        self.parts += other.parts

    def tool_call(self) -> ToolCall:
        return ToolCall(self.id, self.name, "".join(self.parts), kind=self.kind)


class ChatReader(EventReader):
    """Reads one streamed completion, all its choices."""

    _end_marker = b"[DONE]"

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[_Call] = []
        self._open: dict[int, dict[int, _Call]] = {}
        self._seen: set[int] = set()
        self._finished_choices: set[int] = set()

    def _on_event(self, name: str, data: Json, raw: bytes) -> None:
        if data.get("error") or name == "error":
            self._fail(data)
            return
        turn = self.turn
        turn.response_id = turn.response_id or as_text(data.get("id"))
        turn.model = turn.model or as_text(data.get("model"))
        if usage := _usage(as_object(data.get("usage"))):
            turn.usage = usage
        choices = as_objects(data.get("choices"))
        for choice in choices:
            self._on_choice(choice)
        if _is_text_only(choices):
            self._learn(raw)

    def _on_choice(self, choice: Json) -> None:
        index = as_count(choice.get("index"))
        self._seen.add(index)
        for call in _calls(as_object(choice.get("delta"))):
            self._on_call(index, call)
        if reason := as_text(choice.get("finish_reason")):
            self._finished_choices.add(index)
            self._open.pop(index, None)
            self.turn.stop_reason = self.turn.stop_reason or reason

    def _on_call(self, choice: int, call: _Call) -> None:
        calls = self._open.setdefault(choice, {})
        known = calls.pop(call.index, None)
        # Some upstreams give every call of a choice the same index, or none.
        if known is None or (call.id and known.id and call.id != known.id):
            self._calls.append(call)
            known = call
        else:
            known.absorb(call)
        calls[call.index] = known

    def _learn(self, raw: bytes) -> None:
        """Remember how a chunk begins and ends that holds nothing but text."""
        opening = _TEXT_OPENING.search(raw)
        if opening is None:
            return
        end_of_text = raw.find(b'"', opening.end())
        tail = raw[end_of_text:]
        if padding := _OBFUSCATION.search(tail):
            tail = tail[: padding.end()]
            if b'"usage"' not in tail:
                return
        if b"\\" not in raw[opening.end() : end_of_text]:
            self._plain, self._plain_tail = raw[: opening.end()], tail
            self._plain_end = opening.end()

    def _settle(self) -> None:
        unfinished = [] if self._complete else self._unfinished()
        self.turn.tool_calls = [
            call.tool_call() for call in self._calls if call not in unfinished
        ]

    def _unfinished(self) -> list[_Call]:
        # Within a choice, a call is finished when another one follows it.
        return [list(calls.values())[-1] for calls in self._open.values() if calls]

    def _is_whole(self) -> bool:
        return bool(self._seen) and self._seen == self._finished_choices


def _is_text_only(choices: list[Json]) -> bool:
    deltas = [as_object(choice.get("delta")) for choice in choices]
    return [list(delta) for delta in deltas] == [["content"]]


def _calls(message: Json) -> list[_Call]:
    """Return the tool calls of a message or a delta, the legacy kind included."""
    calls = [_Call.read(entry) for entry in as_objects(message.get("tool_calls"))]
    if legacy := as_object(message.get("function_call")):
        calls.append(_Call.read({"function": legacy}))
    return calls


def _arguments(given: Any) -> str:
    if given is None or isinstance(given, str):
        return as_text(given)
    return write_json(given)


def _usage(given: Json) -> Usage | None:
    """Return the tokens of a usage object; OpenAI's input includes the cached."""
    if not given:
        return None
    prompt = as_object(given.get("prompt_tokens_details"))
    completion = as_object(given.get("completion_tokens_details"))
    cached = as_count(prompt.get("cached_tokens"))
    return Usage(
        input=max(0, as_count(given.get("prompt_tokens")) - cached),
        output=as_count(given.get("completion_tokens")),
        cache_read_input=cached,
        extra={
            "prompt_audio": as_count(prompt.get("audio_tokens")),
            "completion_accepted_prediction": as_count(
                completion.get("accepted_prediction_tokens")
            ),
            "completion_rejected_prediction": as_count(
                completion.get("rejected_prediction_tokens")
            ),
            "completion_audio": as_count(completion.get("audio_tokens")),
            "completion_reasoning": as_count(completion.get("reasoning_tokens")),
        },
    )


def _parse(body: bytes) -> Json:
    if not body.strip():
        raise BadRequestBody("unmarshal request body: empty request body")
    parsed = read_json(body)
    if parsed is None:
        raise BadRequestBody("unmarshal request body: invalid JSON")
    if not isinstance(parsed, dict):
        raise BadRequestBody("unmarshal request body: not a JSON object")
    return parsed


def _asking_for_usage(body: bytes, parsed: Json) -> bytes:
    """Return the body with ``stream_options.include_usage``, all else unchanged."""
    options = parsed.get("stream_options")
    if "stream_options" not in parsed:
        before, brace, rest = body.partition(b"{")
        return before + brace + b'"stream_options":{"include_usage":true},' + rest
    if options is not None and not isinstance(options, dict):
        return body
    if options and options.get("include_usage") is True:
        return body
    edited = read_exact_json(body)
    edited["stream_options"] = {**(options or {}), "include_usage": True}
    return write_json(edited).encode()


def _prompt(last: Json) -> str | None:
    # An empty prompt counts as none in this API.
    return (
        last_text(last.get("content")) or None if last.get("role") == "user" else None
    )


def _correlating_id(last: Json) -> str | None:
    if last.get("role") != "tool":
        return None
    return as_text(last.get("tool_call_id")) or None

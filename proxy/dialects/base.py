"""What each API must answer: the contract between a dialect and its callers.

A dialect is pure: bytes and dicts in, turns out. It knows no Django, no HTTP client,
no greenlet and no clock. The interceptor reads what it needs from these types only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

Json = dict[str, Any]


class BadRequestBody(ValueError):
    """The client's body is not what this API takes; the message is for the client."""


@dataclass(slots=True)
class BridgedRequest:
    """What a client asked for, as far as the gateway needs to know.

    ``body`` is what goes upstream: the client's own bytes unless an edit is needed.
    ``prompt`` is None when the request continues an agentic loop.
    ``parsed`` is the decoded body, for reading. An edit decodes ``body`` again with
    ``jsontext.read_exact_json``, since here numbers beyond 64 bits may be floats.
    ``background`` is a Responses request that asks to be answered later.
    """

    body: bytes
    parsed: Json
    model: str = ""
    streaming: bool = False
    prompt: str | None = None
    correlating_tool_call_id: str | None = None
    background: bool = False


@dataclass(slots=True)
class Usage:
    """Tokens of one upstream answer; input excludes what was read from the cache."""

    input: int = 0
    output: int = 0
    cache_read_input: int = 0
    cache_write_input: int = 0
    extra: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ToolCall:
    """A tool the model asked for. ``kind`` is function, custom or server."""

    id: str
    name: str
    arguments: str = ""
    kind: str = "function"
    item_id: str = ""


@dataclass(slots=True)
class Thought:
    """Text the model thought. ``source``: thinking, reasoning_summary, commentary."""

    source: str
    content: str


@dataclass(slots=True)
class TurnError:
    """An error the upstream reported inside an answer whose status was 200.

    ``error_type`` is a value of interceptions.choices.ErrorType.
    """

    error_type: str
    message: str


@dataclass(slots=True)
class NotAnAnswer(TurnError):
    """The body of status 200 is nothing that this API answers."""


@dataclass(slots=True)
class Turn:
    """One upstream answer, as far as it was seen."""

    response_id: str = ""
    model: str = ""
    usage: Usage | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    thoughts: list[Thought] = field(default_factory=list)
    stop_reason: str = ""
    error: TurnError | None = None


class StreamReader(Protocol):
    """Watches a copy of an event stream; indifferent to chunk boundaries."""

    turn: Turn
    ended: bool
    """True once the terminal event (also an error event) was seen whole."""

    def feed(self, chunk: bytes) -> int:
        """Read the next bytes; return how many of them may reach the client already.

        The result is ``len(chunk)`` except when the chunk completes the terminal
        event: then it is the offset in this chunk of that event's first byte (0 when
        the event began in an earlier chunk). Bytes from there on wait for the commit.
        Never raises on what upstream sent.
        """

    def finish(self, *, clean: bool) -> Turn:
        """Close the turn at the end of the body and return it (idempotent).

        ``clean`` says that the HTTP body ended properly. When the stream is not
        complete, ``turn.error`` is set (server_error, truncated) unless upstream
        reported an error itself. Partial usage, thoughts and finished tool calls
        stay. ``complete`` afterwards says whether the answer was whole.
        """

    @property
    def complete(self) -> bool:
        """Whether the answer came to its own end (not truncated)."""

    @property
    def at_boundary(self) -> bool:
        """Whether the bytes fed so far end between two events (a heartbeat fits)."""


class Dialect(Protocol):
    """One API shape. Instances are stateless and shared by all requests."""

    name: ClassVar[str]
    """anthropic_messages, openai_chat or openai_responses; stored on the row."""

    heartbeat: ClassVar[bytes]
    """What fills silence on a stream, whole events or comments only."""

    def read_request(self, body: bytes) -> BridgedRequest:
        """Read a client's body; raises BadRequestBody naming what is wrong."""

    def stream_reader(self) -> StreamReader:
        """Return a fresh reader for one streamed answer."""

    def read_answer(self, body: bytes) -> Turn:
        """Read a whole answer of status 200; ``turn.error`` is set when it is none."""

    def read_error(self, body: bytes) -> tuple[str, str, str]:
        """Return (type, code, message) of an upstream error body; "" where unknown.

        The message falls back to the body's text. Accepts the error shapes of other
        APIs too, since mixed upstreams exist.
        """

    def error_body(self, status: int, message: str, *, error_type: str = "") -> bytes:
        """Return an error in this API's envelope, for a plain HTTP answer.

        ``error_type`` overrides the envelope's type, which otherwise follows the
        status as the provider documents it.
        """

    def error_event(self, status: int, message: str, *, error_type: str = "") -> bytes:
        """Return the same error as stream bytes that end the stream for an SDK."""

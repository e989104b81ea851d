"""What the fake upstream can be told to answer: content, pace and faults."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.demo.answers import (
    CHAT,
    MESSAGES,
    RESPONSES,
    answer_body,
    answer_events,
    error_body,
)
from proxy.demo.reply import Reply

FIXTURES = Path(__file__).parent / "fixtures"
_ROUTES = {
    "/messages": MESSAGES,
    "/chat/completions": CHAT,
    "/responses": RESPONSES,
}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(slots=True, eq=False)
class SeenRequest:
    """A request the upstream got, and what became of its answer.

    ``sent`` holds the content bytes (without chunk framing, before gzip) and
    ``completed`` says that all of them left; both are up to date before a client can
    have received them. ``client_left`` says that the client closed before that.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    number: int = 0
    at: float = field(default_factory=time.monotonic)
    status: int = 0
    sent: bytearray = field(default_factory=bytearray)
    completed: bool = False
    client_left: bool = False

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def api(self) -> str | None:
        """The dialect this route speaks; None for any other route."""
        for suffix, api in _ROUTES.items():
            if self.path.endswith(suffix):
                return api
        return None

    @property
    def key(self) -> str:
        """The credential shown, whichever header carried it; "" without one."""
        scheme, _, credential = self.header("authorization").partition(" ")
        if scheme.startswith("AWS4"):
            return credential.partition("Credential=")[2].partition("/")[0]
        named = ("x-api-key", "api-key", "x-goog-api-key")
        return credential or next(filter(None, map(self.header, named)), "")

    @property
    def streaming(self) -> bool:
        return self.api is not None and self.json().get("stream") is True

    @property
    def sha256(self) -> str:
        """Of the content bytes sent."""
        return hashlib.sha256(self.sent).hexdigest()

    def header(self, name: str) -> str:
        """Return the first header of that name, "" without one."""
        wanted = name.lower()
        return next((v for n, v in self.headers if n.lower() == wanted), "")

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One scripted answer.

    Content, the first that is set: ``raw`` (whole HTTP bytes, then the connection
    closes), ``chunks`` (streamed; numbers between them are pauses in seconds),
    ``body``, ``json``, ``fixture`` (a scenario under tests/fixtures/<dialect>/, for
    routes of a dialect), an error envelope for a status >= 400, else what
    ``simple_answer`` makes of ``text``, a model list, or an echo of the route.

    Pace, in seconds: ``wait`` before the head, ``delay`` before each piece. Pieces are
    whole events unless ``split`` (bytes a piece) or ``seed`` (random pieces) is set.

    Faults; offsets count content bytes: ``hang`` never answers, ``silent_after`` stops
    sending, ``cut_after`` closes, ``reset_after`` resets the connection,
    ``content_length`` lies, ``compress`` gzips unasked, ``until_close`` has no length.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    chunks: Sequence[bytes | float] | None = None
    body: bytes | str | None = None
    json: Any = None
    fixture: str = ""
    text: str = "Hello from upstream."
    deltas: int = 4
    wait: float = 0.0
    delay: float = 0.0
    split: int | None = None
    seed: int | None = None
    hang: bool = False
    silent_after: int | None = None
    cut_after: int | None = None
    reset_after: int | None = None
    content_length: int | None = None
    compress: bool = False
    until_close: bool = False

    def content(self, request: SeenRequest) -> tuple[bool, bytes]:
        """Return whether the answer is an event stream, and all its bytes."""
        if self.chunks is not None:
            whole = b"".join(part for part in self.chunks if isinstance(part, bytes))
            return True, whole
        if self.body is not None:
            body = self.body
            return False, body.encode() if isinstance(body, str) else body
        if self.json is not None:
            return False, json.dumps(self.json).encode()
        if self.fixture and request.api is not None:
            return _read_fixture(request, request.api, self.fixture)
        return self._made_up(request)

    def _made_up(self, request: SeenRequest) -> tuple[bool, bytes]:
        if self.status >= 400:
            kind = _ERROR_TYPES.get(self.status, "api_error")
            envelope = error_body(request.api or CHAT, kind, f"status {self.status}")
            return False, json.dumps(envelope).encode()
        if request.api is None:
            return False, json.dumps(_other_route(request)).encode()
        return request.streaming, simple_answer(
            request.api,
            request.streaming,
            text=self.text,
            deltas=self.deltas,
            model=request.json().get("model", "fake-model"),
            number=request.number,
        )

    def pieces(self, content: bytes, *, streamed: bool) -> Iterator[bytes | float]:
        """Yield what is written at a time, and the pauses between."""
        for piece in self._split(content, streamed):
            if self.delay:
                yield self.delay
            yield piece

    def _split(self, content: bytes, streamed: bool) -> Iterator[bytes | float]:
        if self.seed is not None:
            sizes = random.Random(self.seed)
            yield from _cut(content, lambda: sizes.choice((1, 2, 3, 7, 40, 200, 3000)))
        elif self.split is not None:
            size = self.split
            yield from _cut(content, lambda: size)
        elif self.chunks is not None and not self.compress:
            yield from self.chunks
        elif streamed and not self.compress:
            *events, rest = content.split(b"\n\n")
            yield from [event + b"\n\n" for event in events] + [rest] * bool(rest)
        else:
            yield content


def _cut(content: bytes, next_size: Callable[[], int]) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        size = next_size()
        yield content[at : at + size]
        at += size


def _read_fixture(request: SeenRequest, api: str, scenario: str) -> tuple[bool, bytes]:
    name = "stream.sse" if request.streaming else "response.json"
    path = FIXTURES / api / scenario / name
    if not path.exists():
        raise LookupError(f"there is no {path}")
    return request.streaming, path.read_bytes()


def _other_route(request: SeenRequest) -> dict[str, Any]:
    path = request.path.rstrip("/")
    if path.endswith("/models"):
        model = {"id": "fake-model", "object": "model", "type": "model"}
        listing = {"object": "list", "has_more": False, "data": [model]}
        return listing | {"first_id": "fake-model", "last_id": "fake-model"}
    if path.endswith("/count_tokens"):
        return {"input_tokens": 12}
    return {"method": request.method, "path": request.path}


def simple_answer(
    api: str,
    streaming: bool,
    *,
    text: str = "Hello from upstream.",
    deltas: int = 4,
    model: str = "fake-model",
    number: int = 1,
) -> bytes:
    """Return a plain text answer of an API, its text in about that many deltas."""
    size = max(1, -(-len(text) // deltas))
    pieces = tuple(text[at : at + size] for at in range(0, len(text), size))
    reply = Reply(id=f"{number:08d}", model=model, text=pieces)
    if streaming:
        return b"".join(answer_events(api, reply))
    return json.dumps(answer_body(api, reply)).encode()

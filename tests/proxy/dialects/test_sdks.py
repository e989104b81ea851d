"""The official SDKs against what the dialects write: they raise, or read it whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import openai
import pytest

from proxy import dialects

from .scenarios import DIALECTS, all_having, load

ASK = [{"role": "user", "content": "hi"}]


@dataclass
class Answer:
    status: int = 200
    content_type: str = "text/event-stream"
    body: bytes = b""


class Upstream(ThreadingHTTPServer):
    """Answers every POST with ``answer``."""

    answer = Answer()
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        answer = self.server.answer
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(answer.status)
        self.send_header("content-type", answer.content_type)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class Messages:
    """Each call consumes a whole stream, plainly or through the SDK's accumulator."""

    def __init__(self, url: str) -> None:
        self.client = anthropic.Anthropic(base_url=url, api_key="x", max_retries=0)
        self.ask = {"model": "m", "max_tokens": 9, "messages": ASK}

    def plain(self) -> object:
        return list(self.client.messages.create(stream=True, **self.ask))

    def accumulated(self) -> object:
        with self.client.messages.stream(**self.ask) as stream:
            return stream.get_final_message()

    def blocking(self) -> object:
        return self.client.messages.create(**self.ask)


class Chat:
    def __init__(self, url: str) -> None:
        self.client = openai.OpenAI(base_url=url, api_key="x", max_retries=0)
        self.ask = {"model": "m", "messages": ASK}

    def plain(self) -> object:
        return list(self.client.chat.completions.create(stream=True, **self.ask))

    def accumulated(self) -> object:
        with self.client.chat.completions.stream(**self.ask) as stream:
            return stream.get_final_completion()

    def blocking(self) -> object:
        return self.client.chat.completions.create(**self.ask)


class Responses:
    def __init__(self, url: str) -> None:
        self.client = openai.OpenAI(base_url=url, api_key="x", max_retries=0)
        self.ask = {"model": "m", "input": "hi"}

    def plain(self) -> object:
        return list(self.client.responses.create(stream=True, **self.ask))

    def accumulated(self) -> object:
        with self.client.responses.stream(**self.ask) as stream:
            return stream.get_final_response()

    def blocking(self) -> object:
        return self.client.responses.create(**self.ask)


SDKS = dict(zip(DIALECTS, (Messages, Chat, Responses), strict=True))
API_ERRORS = (anthropic.APIError, openai.APIError)


@pytest.fixture
def sdk(upstream, dialect):
    caller = SDKS[dialect](f"http://127.0.0.1:{upstream.server_port}")
    yield caller
    caller.client.close()


each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
each_way = pytest.mark.parametrize("way", ["plain", "accumulated"])


@each_dialect
@each_way
@pytest.mark.parametrize("status", [400, 429, 502, 503])
@pytest.mark.parametrize("place", ["first", "after the start", "after a heartbeat"])
def test_sdk_raises_on_the_error_event(upstream, sdk, dialect, way, status, place):
    shape = dialects.get(dialect)
    stream = load(dialect, "simple", "stream.sse")
    start = stream[: stream.index(b"\n\n") + 2]
    before = {
        "first": b"",
        "after the start": start,
        "after a heartbeat": start + shape.heartbeat,
    }[place]
    upstream.answer = Answer(body=before + shape.error_event(status, "went wrong"))
    with pytest.raises(API_ERRORS, match="went wrong"):
        getattr(sdk, way)()


@each_dialect
@each_way
def test_sdk_raises_on_the_error_event_after_a_torn_one(upstream, sdk, dialect, way):
    stream = load(dialect, "simple", "stream.sse")
    torn = stream[: len(stream) // 2] + b"\n\n"
    event = dialects.get(dialect).error_event(502, "went wrong")
    upstream.answer = Answer(body=torn + event)
    with pytest.raises((*API_ERRORS, ValueError)):
        getattr(sdk, way)()


@each_dialect
@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (502, "InternalServerError"),
        (503, "InternalServerError"),
    ],
)
@pytest.mark.parametrize("way", ["plain", "blocking"])
def test_sdk_raises_its_typed_error(upstream, sdk, dialect, way, status, name):
    body = dialects.get(dialect).error_body(status, "went wrong")
    upstream.answer = Answer(status, "application/json", body)
    module = anthropic if dialect == "anthropic_messages" else openai
    with pytest.raises(getattr(module, name), match="went wrong") as raised:
        getattr(sdk, way)()
    assert raised.value.status_code == status
    assert raised.value.type


ERROR_SCENARIOS = {
    "error_after_start",
    "error_first",
    "failed",
    "nested_error",
    "numeric_error",
    "stream_error",
}
# The SDK's accumulators refuse these, whoever sends them.
NOT_ACCUMULATED = {
    ("openai_chat", "custom_tool"),
    ("openai_chat", "two_choices"),
    ("openai_responses", "incomplete"),
}
WHOLE = [
    (dialect, scenario)
    for dialect, scenario in all_having("stream.sse")
    if scenario not in ERROR_SCENARIOS
]


@pytest.mark.parametrize(
    ("dialect", "scenario"), WHOLE, ids=[f"{name}-{found}" for name, found in WHOLE]
)
def test_fixture_is_a_stream_the_sdk_reads(upstream, sdk, dialect, scenario):
    """Fixtures that the SDK cannot read would prove nothing about real streams."""
    upstream.answer = Answer(body=load(dialect, scenario, "stream.sse"))
    turn_reader = dialects.get(dialect).stream_reader()
    turn_reader.feed(upstream.answer.body)
    turn = turn_reader.finish(clean=True)
    events = sdk.plain()
    assert events
    if (dialect, scenario) in NOT_ACCUMULATED:
        return
    final = sdk.accumulated()
    assert final.id == turn.response_id
    if dialect == "anthropic_messages":
        assert final.stop_reason == turn.stop_reason
        assert final.usage.output_tokens == turn.usage.output


BLOCKING = [
    (dialect, scenario)
    for dialect, scenario in all_having("response.json")
    if scenario not in {"non_stream_error", "failed"}
]


@pytest.mark.parametrize(
    ("dialect", "scenario"),
    BLOCKING,
    ids=[f"{name}-{found}" for name, found in BLOCKING],
)
def test_fixture_is_an_answer_the_sdk_reads(upstream, sdk, dialect, scenario):
    body = load(dialect, scenario, "response.json")
    upstream.answer = Answer(200, "application/json", body)
    assert sdk.blocking().id == dialects.get(dialect).read_answer(body).response_id

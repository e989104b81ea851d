"""FakeUpstream: what it promises to the tests that use it."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from collections.abc import Iterator

import anthropic
import httpx
import openai
import pytest

from tests.answers import Answer
from tests.upstream import FakeUpstream

ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
STREAMING = ASK | {"stream": True}


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def client(upstream: FakeUpstream) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=upstream.url, timeout=5) as client:
        yield client


def ask(client: httpx.Client, key: str = "key-a", body: object = ASK) -> httpx.Response:
    return client.post("/v1/messages", json=body, headers={"x-api-key": key})


def statuses(client: httpx.Client, count: int, key: str = "key-a") -> list[int]:
    return [ask(client, key).status_code for _ in range(count)]


# Scripts


def test_each_key_has_its_own_script(upstream, client):
    upstream.script("key-a", 429, {"retry-after": "7"}).script("key-b", 200)
    refused = ask(client, "key-a")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert ask(client, "key-b").status_code == 200
    assert upstream.keys_tried == ["key-a", "key-b"]


def test_answers_come_in_order_and_the_last_one_stays(upstream, client):
    upstream.script("key-a", 500).script("key-a", 503, times=2).script("key-a", 200)
    assert statuses(client, 5) == [500, 503, 503, 200, 200]


def test_an_answer_with_times_leaves_room_for_the_default(upstream, client):
    upstream.script("key-a", 401, times=1).script(None, 418)
    assert statuses(client, 3) == [401, 418, 418]


def test_unscripted_requests_get_a_simple_answer(client):
    assert ask(client).json()["content"][0]["text"] == "Hello from upstream."


def test_a_route_is_more_specific_than_a_key(upstream, client):
    upstream.script("key-a", 500).script("key-a", 418, route="/messages")
    assert ask(client).status_code == 418
    answer = client.post("/v1/responses", json=ASK, headers={"x-api-key": "key-a"})
    assert answer.status_code == 500


def test_a_function_can_make_the_answer(upstream, client):
    upstream.answer_with(lambda request: Answer(json={"number": request.number}))
    assert [ask(client).json()["number"] for _ in range(2)] == [1, 2]


def test_it_can_be_told_to_forget(upstream, client):
    upstream.script("key-a", 500)
    ask(client)
    upstream.forget()
    assert ask(client).status_code == 200
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-api-key", "the-key"),
        ("authorization", "Bearer the-key"),
        ("api-key", "the-key"),
        ("x-goog-api-key", "the-key"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=the-key/2026/eu/bedrock/aws4"),
    ],
)
def test_the_key_is_found_wherever_it_travels(upstream, client, name, value):
    client.get("/v1/models", headers={name: value})
    assert upstream.keys_tried == ["the-key"]


# Memory


def test_requests_are_remembered_as_they_came(upstream, client):
    client.post("/a/v1/messages?beta=true", content=b"\x00", headers={"X-Odd": "Yes"})
    seen = upstream.last
    assert (seen.method, seen.path, seen.query) == (
        "POST",
        "/a/v1/messages",
        "beta=true",
    )
    assert seen.target == "/a/v1/messages?beta=true"
    assert ("X-Odd", "Yes") in seen.headers
    assert seen.header("x-odd") == "Yes"
    assert seen.body == b"\x00"
    assert time.monotonic() - seen.at < 5


def test_chunked_request_bodies_are_read(upstream, client):
    client.post("/v1/messages", content=iter([b"ab", b"c"]))
    assert upstream.last.body == b"abc"


@pytest.mark.parametrize("body", [ASK, STREAMING])
def test_the_ledger_knows_what_was_sent(upstream, client, body):
    answer = ask(client, body=body)
    assert upstream.last.completed
    assert upstream.last.sha256 == hashlib.sha256(answer.content).hexdigest()
    assert upstream.last.status == 200
    assert not upstream.last.client_left


def test_waiting_for_requests_that_do_not_come_fails(upstream):
    with pytest.raises(AssertionError, match="not so within"):
        upstream.wait_for(1, seconds=0.01)


@pytest.mark.parametrize(
    "fault", [{"hang": True}, {"silent_after": 5}, {"wait": 30}, {"delay": 30}]
)
def test_a_client_that_leaves_is_noticed_at_once(upstream, fault):
    upstream.script("key-a", **fault)
    with (
        httpx.Client(base_url=upstream.url, timeout=0.1) as impatient,
        pytest.raises(httpx.ReadTimeout),
    ):
        ask(impatient, body=STREAMING)
    assert upstream.aborted.wait(5)
    upstream.wait_until(lambda: upstream.last.client_left)
    assert not upstream.last.completed


def test_a_client_that_leaves_a_busy_stream_is_noticed(upstream, client):
    upstream.script(None, text="x" * 50_000_000, deltas=1000)
    with client.stream("POST", "/v1/messages", json=STREAMING) as answer:
        next(answer.iter_raw())
    assert upstream.aborted.wait(5)


# Content and pace


@pytest.mark.parametrize("name", ["response.json", "stream.sse"])
@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/messages", "anthropic_messages"),
        ("/v1/chat/completions", "openai_chat"),
        ("/chat/completions", "openai_chat"),
        ("/v1/responses", "openai_responses"),
        ("/responses", "openai_responses"),
    ],
)
def test_fixtures_are_found_by_route_and_mode(
    upstream, client, tmp_path, monkeypatch, path, api, name
):
    (tmp_path / api / "told").mkdir(parents=True)
    (tmp_path / api / "told" / name).write_bytes(b"data: told\n\n")
    monkeypatch.setattr("tests.answers.FIXTURES", tmp_path)
    upstream.script(None, fixture="told")
    body = STREAMING if name == "stream.sse" else ASK
    answer = client.post(path, json=body)
    assert answer.content == b"data: told\n\n"


def test_streams_are_sent_event_by_event(upstream, client):
    upstream.script(None, delay=0.03)
    with client.stream("POST", "/v1/messages", json=STREAMING) as answer:
        arrivals = [(time.monotonic(), piece) for piece in answer.iter_raw()]
    assert len(arrivals) > 5
    assert all(piece.endswith(b"\n\n") for _, piece in arrivals)
    assert arrivals[-1][0] - arrivals[0][0] > 0.03 * 4


def test_random_splits_are_repeatable_and_lossless(upstream, client):
    def pieces(seed: int) -> list[bytes]:
        split = Answer(seed=seed)
        return list(split.pieces(b"0123456789" * 500, streamed=True))

    assert pieces(1) == pieces(1) != pieces(2)
    assert b"".join(pieces(1)) == b"0123456789" * 500


def test_chunks_and_pauses_are_sent_as_listed(upstream, client):
    upstream.script(None, chunks=[b"a", 0.05, b"b"])
    with client.stream("POST", "/v1/messages", json=ASK) as answer:
        assert list(answer.iter_raw()) == [b"a", b"b"]


def test_compressed_content_is_announced_and_remembered_plain(upstream, client):
    upstream.script(None, body=b"plain" * 99, compress=True)
    with client.stream("POST", "/v1/messages", json=ASK) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == b"plain" * 99 == bytes(upstream.last.sent)


# Faults


@pytest.mark.parametrize(
    "fault",
    [
        {"cut_after": 10},
        {"reset_after": 10},
        {"content_length": 99_999},
        {"raw": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"},
        {"raw": b""},
    ],
    ids=str,
)
def test_a_faulty_answer_breaks_a_real_client(upstream, client, fault):
    upstream.script("key-a", **fault)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        ask(client, body=STREAMING)


def test_a_cut_answer_is_not_completed(upstream, client):
    upstream.script("key-a", cut_after=10)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client, body=STREAMING)
    assert len(upstream.last.sent) == 10
    assert not upstream.last.completed
    assert not upstream.last.client_left


def test_it_can_refuse_connections_and_come_back_on_its_port(upstream, client):
    url = upstream.url
    upstream.refuse()
    with pytest.raises(httpx.ConnectError):
        ask(client)
    upstream.start()
    assert upstream.url == url
    assert ask(client).status_code == 200


def test_hundreds_of_requests_at_a_time_are_served(upstream):
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=upstream.url, timeout=30, limits=limits) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(300)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(upstream.requests) == 300
    assert [request.number for request in upstream.requests] == list(range(1, 301))


# The official SDKs


def test_the_anthropic_sdk_understands_its_answers(upstream):
    with anthropic.Anthropic(
        api_key="key-a", base_url=upstream.url, max_retries=0
    ) as claude:
        assert claude.messages.create(**ASK).content[0].text == "Hello from upstream."
        with claude.messages.stream(**ASK) as stream:
            whole = stream.get_final_message()
        assert whole.content[0].text == "Hello from upstream."
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (12, 34)
        assert [model.id for model in claude.models.list()] == ["fake-model"]
        upstream.script("key-a", 529)
        with pytest.raises(anthropic.APIStatusError, match="overloaded"):
            claude.messages.create(**ASK)


def test_the_openai_sdk_understands_its_answers(upstream):
    with openai.OpenAI(
        api_key="key-a", base_url=f"{upstream.url}/v1", max_retries=0
    ) as gpt:
        chat = {"model": "m", "messages": ASK["messages"]}
        whole = gpt.chat.completions.create(**chat)
        assert whole.choices[0].message.content == "Hello from upstream."
        chunks = gpt.chat.completions.create(**chat, stream=True)
        deltas = [c.choices[0].delta.content or "" for c in chunks if c.choices]
        assert "".join(deltas) == "Hello from upstream."
        assert gpt.responses.create(model="m", input="x").usage.output_tokens == 34
        with gpt.responses.stream(model="m", input="x") as stream:
            assert stream.get_final_response().output_text == "Hello from upstream."
        assert [model.id for model in gpt.models.list()] == ["fake-model"]
        upstream.script("key-a", 429)
        with pytest.raises(openai.RateLimitError, match="status 429"):
            gpt.chat.completions.create(**chat)

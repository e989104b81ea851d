"""The inner agentic loop, on a live gateway with a real MCP server."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import anthropic
import httpx
import openai
import pytest

from interceptions.models import Interception
from proxy.models import McpServer
from tests.answers import Answer, SeenRequest
from tests.aws import FRAMES, frames_of
from tests.live.apis import APIS, CHAT, MESSAGES, RESPONSES, Api
from tests.live.gateway import Gateway
from tests.mcp.running import running_server
from tests.toolturns import say, tool_results
from tests.upstream import FakeUpstream

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

ADD = ("call_1", "bmcp_test_add", {"a": 2, "b": 3})
HELLO = [{"role": "user", "content": "What is 2 + 3?"}]


def asks_for(*calls, text: str = "", then: str = "It is five."):
    """Return a model that calls tools once and then speaks."""

    def answer(request):
        if tool_results(request):
            return say(request, then, input_tokens=20, output_tokens=7)
        return say(request, text, calls)

    return answer


@pytest.fixture(params=APIS, ids=lambda api: api.name)
def api(request) -> Api:
    return request.param


@pytest.fixture(params=[False, True], ids=["blocking", "streaming"])
def streaming(request) -> bool:
    return request.param


def recorded(answer: httpx.Response) -> Interception:
    return Interception.objects.get(pk=answer.headers["x-aibridge-interception-id"])


def test_tool_is_run_and_the_answer_follows(
    api: Api,
    streaming: bool,
    gateway: Gateway,
    upstream: FakeUpstream,
    served,
    token,
    offer_tools,
):
    server = offer_tools()
    provider = served(api.kind)
    upstream.answer_with(asks_for(ADD))
    answer = api.call(gateway.url, provider.name, token, streaming=streaming)
    assert answer.status_code == 200
    assert "It is five." in answer.text
    assert "bmcp_test_add" not in answer.text
    first, second = upstream.requests
    (result,) = tool_results(second)
    assert "5" in result
    row = recorded(answer)
    assert (row.outcome, row.turns) == ("completed", 2)
    assert (row.input_tokens, row.output_tokens) == (30, 12)
    usage = row.tool_usages.get()
    assert (usage.injected, usage.tool, usage.turn) == (True, "add", 0)
    assert (usage.server_name, usage.server_url) == ("test", server.url)
    assert json.loads(usage.input) == {"a": 2, "b": 3}
    assert usage.invocation_error == ""
    assert usage.duration_ms is not None
    assert [attempt.turn for attempt in row.attempts.all()] == [0, 1]
    assert [t.provider_response_id for t in row.token_usages.all()][0].endswith("1")
    assert second.json()["tools"] == first.json()["tools"]


def test_answer_without_a_call_keeps_its_bytes(
    api: Api,
    streaming: bool,
    gateway: Gateway,
    upstream: FakeUpstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind)
    upstream.script("key-a", fixture="simple", seed=4)
    answer = api.call(gateway.url, provider.name, token, streaming=streaming)
    sent = bytes(upstream.last.sent)
    if streaming and api is not RESPONSES:
        row_id = answer.headers["x-aibridge-interception-id"]
        own = recorded(answer).response_id
        sent = sent.replace(own.encode(), row_id.encode())
    assert answer.content == sent


def test_the_same_request_becomes_the_same_upstream_bytes(
    api: Api,
    gateway: Gateway,
    upstream: FakeUpstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind)
    for _ in range(10):
        api.call(gateway.url, provider.name, token)
    assert len({request.body for request in upstream.requests}) == 1


# Official SDKs


@pytest.fixture
def claude(gateway: Gateway, served, token) -> anthropic.Anthropic:
    base = f"{gateway.url}/aibridge/{served('anthropic').name}"
    return anthropic.Anthropic(base_url=base, auth_token=token, max_retries=0)


@pytest.fixture
def gpt(gateway: Gateway, served, token) -> openai.OpenAI:
    base = f"{gateway.url}/aibridge/{served('openai').name}/v1"
    return openai.OpenAI(base_url=base, api_key=token, max_retries=0)


def test_anthropic_sdk_accumulates_one_message(
    claude,
    upstream: FakeUpstream,
    offer_tools,
):
    offer_tools()
    upstream.answer_with(asks_for(ADD, text="One moment."))
    with claude.messages.stream(
        model="claude-opus-4-5", max_tokens=100, messages=HELLO
    ) as stream:
        message = stream.get_final_message()
    assert [block.text for block in message.content] == ["One moment.", "It is five."]
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (30, 12)
    assert message.id == str(Interception.objects.first().pk)


def test_anthropic_sdk_gets_one_whole_message(
    claude,
    upstream: FakeUpstream,
    offer_tools,
):
    offer_tools()
    upstream.answer_with(asks_for(ADD, text="One moment."))
    message = claude.messages.create(
        model="claude-opus-4-5", max_tokens=100, messages=HELLO
    )
    assert [block.text for block in message.content] == ["It is five."]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (30, 12)
    assert message.id == str(Interception.objects.first().pk)


def test_openai_sdk_accumulates_one_completion(
    gpt,
    upstream: FakeUpstream,
    offer_tools,
):
    offer_tools()
    upstream.answer_with(asks_for(ADD, text="One moment. "))
    with gpt.chat.completions.stream(
        model="gpt-4.1", messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        answer = stream.get_final_completion()
    (choice,) = answer.choices
    assert choice.message.content == "One moment. It is five."
    assert choice.message.role == "assistant"
    assert not choice.message.tool_calls
    assert choice.finish_reason == "stop"
    assert answer.usage.total_tokens == 42
    assert answer.id == str(Interception.objects.first().pk)


def test_openai_sdk_accumulates_one_response(
    gpt,
    upstream: FakeUpstream,
    offer_tools,
):
    offer_tools()
    upstream.answer_with(asks_for(ADD, text="One moment."))
    with gpt.responses.stream(model="gpt-5.2", input="What is 2 + 3?") as stream:
        answer = stream.get_final_response()
    assert answer.output_text == "It is five."
    assert answer.usage.total_tokens == 42
    assert answer.id == f"resp_{upstream.last.number}"


# Parallel and mixed calls


def test_parallel_calls_run_at_the_same_time(
    api: Api,
    streaming: bool,
    gateway: Gateway,
    upstream: FakeUpstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind)
    calls = [(f"call_{n}", "bmcp_test_slow", {"seconds": 1}) for n in range(5)]
    upstream.answer_with(asks_for(*calls))
    started = time.monotonic()
    answer = api.call(gateway.url, provider.name, token, streaming=streaming)
    assert "It is five." in answer.text
    assert time.monotonic() - started < 4.5
    assert len(tool_results(upstream.last)) == 5
    used = recorded(answer).tool_usages.all()
    assert {usage.tool_call_id for usage in used} == {call[0] for call in calls}


def test_the_client_gets_its_own_call_of_a_mixed_turn(
    api: Api,
    streaming: bool,
    gateway: Gateway,
    upstream: FakeUpstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind)
    own = ("call_2", "read_file", {"path": "x"})
    upstream.answer_with(asks_for(ADD, own))
    answer = api.call(gateway.url, provider.name, token, streaming=streaming)
    assert "read_file" in answer.text
    assert "bmcp_test_add" not in answer.text
    assert len(upstream.requests) == 1
    row = recorded(answer)
    assert row.outcome == "completed"
    used = {usage.tool: usage for usage in row.tool_usages.all()}
    assert set(used) == {"add", "read_file"}
    assert used["add"].invocation_error.startswith("not run")
    assert used["read_file"].injected is False


def test_twenty_requests_with_tools_take_as_long_as_one(
    api: Api,
    gateway: Gateway,
    upstream: FakeUpstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind)
    upstream.answer_with(asks_for(("call_1", "bmcp_test_slow", {"seconds": 2})))

    def seconds_of(number: int) -> float:
        started = time.monotonic()
        with ThreadPoolExecutor(number) as pool:
            calls = [
                pool.submit(api.call, gateway.url, provider.name, token, streaming=True)
                for _ in range(number)
            ]
        assert all("It is five." in call.result().text for call in calls)
        return time.monotonic() - started

    one, twenty = seconds_of(1), seconds_of(20)
    print(
        f"one request with a tool of 2 s: {one:.1f} s, twenty at once: {twenty:.1f} s"
    )
    # One after another they would take twenty times as long.
    assert twenty < 2.5 * one


# Other servers and kinds


def test_server_of_the_era_before(gateway, upstream, served, token, offer_tools):
    with running_server("--legacy") as url:
        offer_tools(url=url)
        provider = served("anthropic")
        upstream.answer_with(asks_for(ADD))
        answer = MESSAGES.call(gateway.url, provider.name, token)
    assert "It is five." in answer.text
    assert "5" in tool_results(upstream.last)[0]


@pytest.mark.parametrize("streaming", [False, True], ids=["blocking", "streaming"])
def test_tools_through_bedrock(
    streaming, gateway, upstream, served, token, offer_tools
):
    offer_tools()
    secrets = {"access_key": "AKIAIOSFODNN7EXAMPLE", "access_key_secret": "secret"}
    options = {"region": "eu-west-1", "model": "m:0", "small_fast_model": "s"}
    provider = served(
        "bedrock", (), options=options, secret_options=json.dumps(secrets)
    )
    model = asks_for(ADD, text="One moment.")

    def answer(request):
        plain = SeenRequest(
            "POST", "/v1/messages", [], request.body, 0, number=request.number
        )
        framed = "response-stream" in request.path
        plain.body = json.dumps(request.json() | {"stream": framed}).encode()
        made = model(plain)
        if not framed:
            return made
        frames = frames_of(b"".join(made.chunks))
        return Answer(chunks=frames, headers={"content-type": FRAMES})

    upstream.answer_with(answer)
    got = MESSAGES.call(gateway.url, provider.name, token, streaming=streaming)
    assert "It is five." in got.text
    assert {request.path.split("/")[2] for request in upstream.requests} == {"m%3A0"}
    assert recorded(got).turns == 2


# Failures


def test_a_failing_tool_is_told_to_the_model(
    api: Api,
    gateway: Gateway,
    upstream: FakeUpstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind)
    upstream.answer_with(asks_for(("call_1", "bmcp_test_fail", {}), then="Sorry."))
    answer = api.call(gateway.url, provider.name, token)
    assert "Sorry." in answer.text
    assert "fail" in tool_results(upstream.last)[0]
    assert recorded(answer).tool_usages.get().invocation_error == ""


def test_a_call_that_fails_is_told_to_the_model(
    api: Api,
    gateway: Gateway,
    upstream: FakeUpstream,
    served,
    token,
    offer_tools,
):
    offer_tools(timeout=0.5)
    provider = served(api.kind)
    slow = ("call_1", "bmcp_test_slow", {"seconds": 30})
    upstream.answer_with(asks_for(slow, then="Sorry."))
    answer = api.call(gateway.url, provider.name, token)
    assert "Sorry." in answer.text
    assert "did not answer in time" in tool_results(upstream.last)[0]
    row = recorded(answer)
    assert row.outcome == "completed"
    assert "did not answer in time" in row.tool_usages.get().invocation_error


def test_a_server_that_is_down_breaks_no_request(
    gateway: Gateway,
    upstream: FakeUpstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    McpServer.objects.create(name="down", url="http://127.0.0.1:9/mcp")
    provider = served("anthropic")
    time.sleep(1)
    answer = MESSAGES.call(gateway.url, provider.name, token)
    assert answer.status_code == 200
    names = {tool["name"] for tool in upstream.last.json()["tools"]}
    assert "bmcp_test_add" in names


# Failover in the loop (table 30.6)


def tool_then(*rest):
    """Return what upstream answers, in order: a tool call, then the rest."""
    waiting = list(rest)

    def answer(request):
        if not tool_results(request):
            return say(request, "", [ADD])
        following = waiting.pop(0)
        return following or say(request, "It is five.")

    return answer


def limited(seconds: int) -> Answer:
    error = {"error": {"type": "rate_limit_error", "message": "slow down"}}
    return Answer(status=429, headers={"retry-after": str(seconds)}, json=error)


def test_happy_path(
    api,
    streaming,
    gateway,
    upstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind, ("k0", "k1"))
    upstream.answer_with(tool_then(None))
    answer = api.call(gateway.url, provider.name, token, streaming=streaming)
    assert answer.status_code == 200
    assert upstream.keys_tried == ["k0", "k0"]


def test_agentic_failover_to_k1(
    api,
    streaming,
    gateway,
    upstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind, ("k0", "k1"))
    upstream.answer_with(tool_then(limited(5), None))
    answer = api.call(gateway.url, provider.name, token, streaming=streaming)
    assert answer.status_code == 200
    assert upstream.keys_tried == ["k0", "k0", "k1"]
    assert "It is five." in answer.text


def test_agentic_all_keys_fail(
    api,
    streaming,
    gateway,
    upstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind, ("k0", "k1"))
    upstream.answer_with(tool_then(limited(5), limited(3)))
    answer = api.call(gateway.url, provider.name, token, streaming=streaming)
    assert upstream.keys_tried == ["k0", "k0", "k1"]
    row = recorded(answer)
    assert (row.outcome, row.error_type) == ("failed", "rate_limited")
    assert row.tool_usages.get().invocation_error == ""
    if not streaming or api is RESPONSES:
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "3"
        return
    assert answer.status_code == 200
    assert "retry-after" not in answer.headers
    expected = b"event: error" if api is MESSAGES else b'data: {"error"'
    assert expected in answer.content


def test_upstream_error_of_a_later_turn(
    api,
    streaming,
    gateway,
    upstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind)
    error = {"error": {"type": "api_error", "message": "it broke"}}
    upstream.answer_with(tool_then(Answer(status=500, json=error)))
    answer = api.call(gateway.url, provider.name, token, streaming=streaming)
    assert "it broke" in answer.text
    row = recorded(answer)
    assert (row.error_type, row.error_message) == ("server_error", "it broke")
    assert row.turns == 1
    if not streaming or api is RESPONSES:
        assert answer.status_code == 500


def test_later_turn_that_is_cut_ends_with_an_error(
    api,
    gateway,
    upstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind)

    def answer(request):
        if not tool_results(request):
            return say(request, "", [ADD])
        return say(request, "It is five.", cut_after=300)

    upstream.answer_with(answer)
    got = api.call(gateway.url, provider.name, token, streaming=True)
    assert api.terminal not in got.content or api is CHAT
    assert "error" in got.text
    row = recorded(got)
    assert (row.outcome, row.error_type) == ("failed", "server_error")


# Limits


@pytest.fixture
def strict_gateway(start_gateway) -> Gateway:
    return start_gateway(
        AIBRIDGE_TOOL_ITERATIONS=3,
        AIBRIDGE_TOOL_SECONDS=2,
        AIBRIDGE_HEARTBEAT_SECONDS=0.3,
    )


def test_limits_and_heartbeats(
    strict_gateway,
    gateway,
    upstream,
    served,
    token,
    offer_tools,
    wait_served,
):
    """One slow start of a gateway serves these claims."""
    offer_tools()
    node = strict_gateway
    provider = served("anthropic")
    wait_served(node, provider)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        MESSAGES.call(node.url, provider.name, token)
        if upstream.last.json().get("tools"):
            break

    # The model never stops calling tools.
    upstream.forget()
    upstream.answer_with(lambda request: say(request, "", [ADD]))
    for streaming in (False, True):
        upstream.requests.clear()
        answer = MESSAGES.call(node.url, provider.name, token, streaming=streaming)
        assert "still calls tools after 3 turns" in answer.text
        assert len(upstream.requests) == 4
        row = recorded(answer)
        assert (row.outcome, row.turns, row.tool_usages.count()) == ("failed", 4, 4)
        last = row.tool_usages.order_by("turn").last()
        assert last.invocation_error.startswith("not run")
    assert MESSAGES.call(node.url, provider.name, token).status_code == 500

    # The tools take too long.
    slow = ("call_1", "bmcp_test_slow", {"seconds": 30})
    upstream.answer_with(lambda request: say(request, "", [slow]))
    started = time.monotonic()
    answer = MESSAGES.call(node.url, provider.name, token)
    assert answer.status_code == 504
    assert "took longer than 2 s" in answer.text
    assert time.monotonic() - started < 20

    # The stream is kept alive while a tool runs.
    slow = ("call_1", "bmcp_test_slow", {"seconds": 1.5})
    for api, heartbeat in (
        (MESSAGES, b"event: ping"),
        (CHAT, b": keep-alive"),
        (RESPONSES, b": keep-alive"),
    ):
        provider = served(api.kind)
        wait_served(node, provider)
        upstream.answer_with(asks_for(slow))
        answer = api.call(node.url, provider.name, token, streaming=True)
        assert "It is five." in answer.text
        assert answer.content.count(heartbeat) >= 3, api


def test_client_that_leaves_ends_the_tools(
    gateway,
    upstream,
    served,
    token,
    offer_tools,
    mcp_url,
    wait_ended,
):
    offer_tools()
    provider = served("anthropic")
    slow = ("call_1", "bmcp_test_slow", {"seconds": 30})
    upstream.answer_with(lambda request: say(request, "One moment.", [slow]))
    before = slow_calls(mcp_url)
    with httpx.stream(
        "POST",
        f"{gateway.url}/aibridge/{provider.name}/v1/messages",
        json=MESSAGES.body(streaming=True),
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    ) as response:
        row_id = response.headers["x-aibridge-interception-id"]
        for chunk in response.iter_bytes():
            if b"content_block_stop" in chunk:
                break
        deadline = time.monotonic() + 30
        while slow_calls(mcp_url) == before:
            assert time.monotonic() < deadline
    started = time.monotonic()
    row = wait_ended(row_id)
    assert time.monotonic() - started < 20
    assert row.outcome == "cancelled"
    assert "cancelled" in row.tool_usages.get().invocation_error


def slow_calls(url: str) -> int:
    """Return how many calls of the MCP server's slow tool have begun."""
    return int(httpx.get(url.replace("/mcp", "/slow-calls")).text)


# Requests that are not given tools


def test_streamed_haiku_gets_no_tools(
    gateway,
    upstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served("anthropic")
    model = {"model": "claude-haiku-4-5"}
    MESSAGES.call(gateway.url, provider.name, token, streaming=True, **model)
    assert "tools" not in upstream.last.json()
    MESSAGES.call(gateway.url, provider.name, token, **model)
    assert upstream.last.json()["tools"]


def test_too_many_tools_are_a_clear_error(
    api,
    gateway,
    upstream,
    served,
    token,
    offer_tools,
):
    offer_tools()
    provider = served(api.kind)
    own = [{"type": "function", "name": f"t{n}"} for n in range(127)]
    answer = api.call(gateway.url, provider.name, token, tools=own)
    assert answer.status_code == 400
    assert "are more than 128" in answer.text
    assert not upstream.requests
    assert recorded(answer).error_type == "bad_request"

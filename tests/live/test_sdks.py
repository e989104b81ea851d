"""The official SDKs work through the gateway as they do without it."""

from __future__ import annotations

import anthropic
import openai
import pytest

from interceptions.models import Interception
from tests.live.gateway import Gateway
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live

HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def claude(gateway: Gateway, served, token):
    """Return a function that makes an anthropic client of a fresh provider."""

    def make(**options) -> anthropic.Anthropic:
        provider = served("anthropic")
        return anthropic.Anthropic(
            base_url=f"{gateway.url}/aibridge/{provider.name}",
            auth_token=token,
            max_retries=0,
            **options,
        )

    return make


@pytest.fixture
def gpt(gateway: Gateway, served, token):
    """Return a function that makes an openai client of a fresh provider."""

    def make(**options) -> openai.OpenAI:
        provider = served("openai")
        return openai.OpenAI(
            base_url=f"{gateway.url}/aibridge/{provider.name}/v1",
            api_key=token,
            max_retries=0,
            **options,
        )

    return make


def newest() -> Interception:
    return Interception.objects.first()


def test_anthropic_blocking(claude, upstream: FakeUpstream):
    upstream.script("key-a", text="Hello from upstream.")
    message = claude().messages.create(
        model="claude-opus-4-5", max_tokens=100, messages=HELLO
    )
    assert message.content[0].text == "Hello from upstream."
    row = newest()
    assert row.outcome == "completed"
    assert row.prompts.get().prompt == "Say hello."
    assert row.response_id == message.id
    assert row.output_tokens == message.usage.output_tokens


def test_anthropic_streaming(claude, upstream: FakeUpstream):
    upstream.script("key-a", text="Hello from upstream.", seed=3)
    with claude().messages.stream(
        model="claude-opus-4-5", max_tokens=100, messages=HELLO
    ) as stream:
        assert "".join(stream.text_stream) == "Hello from upstream."
        message = stream.get_final_message()
    row = newest()
    assert (row.outcome, row.streaming) == ("completed", True)
    assert row.response_id == message.id
    assert row.output_tokens == message.usage.output_tokens


def test_anthropic_tools(claude, upstream: FakeUpstream):
    upstream.script("key-a", fixture="single_builtin_tool")
    with claude().messages.stream(
        model="claude-opus-4-5", max_tokens=100, messages=HELLO
    ) as stream:
        message = stream.get_final_message()
    used = [block for block in message.content if block.type == "tool_use"]
    recorded = newest().tool_usages.get()
    assert (recorded.tool, recorded.tool_call_id) == (used[0].name, used[0].id)
    assert recorded.injected is False


def test_chat_blocking(gpt, upstream: FakeUpstream):
    upstream.script("key-a", text="Hello from upstream.")
    answer = gpt().chat.completions.create(model="gpt-4.1", messages=HELLO)
    assert answer.choices[0].message.content == "Hello from upstream."
    row = newest()
    assert (row.outcome, row.dialect) == ("completed", "openai_chat")
    assert row.output_tokens == answer.usage.completion_tokens


def test_chat_streaming_is_asked_for_its_usage(gpt, upstream: FakeUpstream):
    upstream.script("key-a", text="Hello from upstream.", seed=5)
    stream = gpt().chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
    text = "".join(
        chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices
    )
    assert text == "Hello from upstream."
    assert upstream.last.json()["stream_options"] == {"include_usage": True}
    assert newest().output_tokens > 0


def test_chat_tools(gpt, upstream: FakeUpstream):
    upstream.script("key-a", fixture="parallel_tools")
    with gpt().chat.completions.stream(model="gpt-4.1", messages=HELLO) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    recorded = list(newest().tool_usages.values_list("tool_call_id", flat=True))
    assert recorded == [call.id for call in calls]
    assert len(recorded) > 1


def test_responses_blocking(gpt, upstream: FakeUpstream):
    upstream.script("key-a", text="Hello from upstream.")
    answer = gpt().responses.create(model="gpt-5.2", input="Say hello.")
    assert answer.output_text == "Hello from upstream."
    row = newest()
    assert row.response_id == answer.id
    assert row.prompts.get().prompt == "Say hello."


def test_responses_streaming(gpt, upstream: FakeUpstream):
    upstream.script("key-a", text="Hello from upstream.", seed=7)
    with gpt().responses.stream(model="gpt-5.2", input="Say hello.") as stream:
        for _ in stream:
            pass
        answer = stream.get_final_response()
    assert answer.output_text == "Hello from upstream."
    assert newest().response_id == answer.id


def test_responses_tools(gpt, upstream: FakeUpstream):
    upstream.script("key-a", fixture="single_builtin_tool")
    with gpt().responses.stream(model="gpt-5.2", input="Add.") as stream:
        answer = stream.get_final_response()
    call = next(item for item in answer.output if item.type == "function_call")
    assert newest().tool_usages.get().tool_call_id == call.call_id


ERRORS = [
    (400, anthropic.BadRequestError, openai.BadRequestError),
    (401, anthropic.InternalServerError, openai.InternalServerError),
    (404, anthropic.NotFoundError, openai.NotFoundError),
    (429, anthropic.RateLimitError, openai.RateLimitError),
    (500, anthropic.InternalServerError, openai.InternalServerError),
]


@pytest.mark.parametrize(("status", "claude_error", "gpt_error"), ERRORS)
def test_sdks_raise_their_typed_errors(
    status, claude_error, gpt_error, claude, gpt, upstream: FakeUpstream
):
    upstream.script(None, status)
    with pytest.raises(claude_error):
        claude().messages.create(model="m", max_tokens=9, messages=HELLO)
    with pytest.raises(gpt_error):
        gpt().chat.completions.create(model="m", messages=HELLO)
    with pytest.raises(gpt_error):
        gpt().responses.create(model="m", input="hi")


def test_sdks_raise_typed_errors_for_a_bad_token(gateway: Gateway, served):
    provider = served("anthropic")
    client = anthropic.Anthropic(
        base_url=f"{gateway.url}/aibridge/{provider.name}",
        auth_token="aib_00000000_wrong",
        max_retries=0,
    )
    with pytest.raises(anthropic.AuthenticationError, match="unknown"):
        client.messages.create(model="m", max_tokens=9, messages=HELLO)
    provider = served("openai")
    other = openai.OpenAI(
        base_url=f"{gateway.url}/aibridge/{provider.name}/v1",
        api_key="wrong",
        max_retries=0,
    )
    with pytest.raises(openai.AuthenticationError, match="unknown"):
        other.responses.create(model="m", input="hi")


CUTS = [0.2, 0.5, 0.9]


@pytest.mark.parametrize("part", CUTS)
def test_sdks_raise_on_every_truncated_stream(
    part, claude, gpt, upstream: FakeUpstream
):
    upstream.answer_with(lambda request: _cut(request, part))
    with (
        pytest.raises(anthropic.APIError),
        claude().messages.stream(model="m", max_tokens=9, messages=HELLO) as stream,
    ):
        stream.get_final_message()
    with pytest.raises(openai.APIError):
        for _ in gpt().chat.completions.create(model="m", messages=HELLO, stream=True):
            pass
    with pytest.raises(openai.APIError):
        for _ in gpt().responses.create(model="m", input="hi", stream=True):
            pass
    for row in Interception.objects.all()[:3]:
        assert (row.outcome, row.error_type) == ("failed", "server_error")


def _cut(request, part: float):
    from tests.answers import Answer

    whole = Answer(deltas=20).content(request)[1]
    return Answer(deltas=20, cut_after=int(len(whole) * part))

"""The demo provider, as a process, asked by the official SDKs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import openai
import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(ROOT / "manage.py"), "demo_provider", "--port", "0"]
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer"},
        "note": {"type": "string"},
    },
    "required": ["city", "unit", "days"],
}
ASK_FOR_TOOL = 'Please use the get_weather tool for "Oslo".'
ARGUMENTS = {"city": "Oslo", "unit": "celsius", "days": 1}


def start_demo(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Start the command and return it with the URL it prints once it listens."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    process, url = start_demo("--pace", "0")
    yield url
    process.terminate()
    assert process.wait(10) == 0
    process.stdout.close()


@pytest.fixture
def claude(demo: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        api_key="demo-key", base_url=demo, max_retries=0
    ) as client:
        yield client


@pytest.fixture
def gpt(demo: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key="demo-key", base_url=f"{demo}/v1", max_retries=0
    ) as client:
        yield client


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_messages_echoes_the_prompt_and_counts_tokens(claude):
    answer = claude.messages.create(
        model="demo-large", max_tokens=500, messages=user("a red fish")
    )
    assert "a red fish" in answer.content[0].text
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 10


def test_messages_streams_the_same_answer_word_by_word(claude):
    with claude.messages.stream(
        model="demo-large", max_tokens=500, messages=user("a red fish")
    ) as stream:
        words = list(stream.text_stream)
        whole = stream.get_final_message()
    assert len(words) > 20
    assert "".join(words) == whole.content[0].text
    assert "a red fish" in whole.content[0].text
    assert whole.usage.output_tokens > 10


def test_messages_thinks_when_asked_to(claude):
    with claude.messages.stream(
        model="demo-large",
        max_tokens=5000,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=user("a red fish"),
    ) as stream:
        whole = stream.get_final_message()
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert whole.content[0].thinking.startswith("The user wrote 10 characters")
    assert whole.content[0].signature


@pytest.mark.parametrize("streaming", [False, True])
def test_messages_calls_a_tool_and_uses_its_result(claude, streaming):
    tools = [{"name": "get_weather", "input_schema": WEATHER}]
    asked = {"model": "demo-large", "max_tokens": 500, "tools": tools}

    def ask(messages):
        if not streaming:
            return claude.messages.create(messages=messages, **asked)
        with claude.messages.stream(messages=messages, **asked) as stream:
            return stream.get_final_message()

    first = ask(user(ASK_FOR_TOOL))
    assert first.stop_reason == "tool_use"
    call = first.content[0]
    assert (call.name, call.input) == ("get_weather", ARGUMENTS)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "4 degrees"}
    second = ask(
        [
            *user(ASK_FOR_TOOL),
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [result]},
        ]
    )
    assert second.stop_reason == "end_turn"
    assert "4 degrees" in second.content[0].text


def test_messages_counts_tokens(claude):
    counted = claude.messages.count_tokens(model="demo-large", messages=user("fish"))
    assert counted.input_tokens > 3


def test_chat_echoes_the_prompt_and_counts_tokens(gpt):
    answer = gpt.chat.completions.create(
        model="demo-large", messages=user("a red fish")
    )
    assert "a red fish" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens > 10


def test_chat_streams_with_usage_only_when_asked(gpt):
    asked = {"model": "demo-large", "messages": user("a red fish"), "stream": True}
    plain = list(gpt.chat.completions.create(**asked))
    assert all(chunk.usage is None for chunk in plain)
    assert "a red fish" in "".join(c.choices[0].delta.content or "" for c in plain)
    counted = list(
        gpt.chat.completions.create(**asked, stream_options={"include_usage": True})
    )
    assert counted[-1].usage.completion_tokens > 10


@pytest.mark.parametrize("streaming", [False, True])
def test_chat_calls_a_tool_and_uses_its_result(gpt, streaming):
    function = {"name": "get_weather", "parameters": WEATHER}
    asked = {
        "model": "demo-large",
        "tools": [{"type": "function", "function": function}],
    }

    def ask(messages):
        if not streaming:
            return gpt.chat.completions.create(messages=messages, **asked)
        with gpt.chat.completions.stream(messages=messages, **asked) as stream:
            return stream.get_final_completion()

    first = ask(user(ASK_FOR_TOOL)).choices[0]
    assert first.finish_reason == "tool_calls"
    call = first.message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert call.function.arguments == ('{"city": "Oslo", "unit": "celsius", "days": 1}')
    result = {"role": "tool", "tool_call_id": call.id, "content": "4 degrees"}
    said = {"role": "assistant", "tool_calls": [call.model_dump(exclude_unset=True)]}
    second = ask([*user(ASK_FOR_TOOL), said, result]).choices[0]
    assert "4 degrees" in second.message.content


def test_responses_echoes_the_prompt_and_counts_tokens(gpt):
    answer = gpt.responses.create(model="demo-large", input="a red fish")
    assert "a red fish" in answer.output_text
    assert answer.status == "completed"
    assert answer.usage.total_tokens > 10


def test_responses_streams_thoughts_and_text(gpt):
    with gpt.responses.stream(
        model="demo-large", input=user("a red fish"), reasoning={"summary": "auto"}
    ) as stream:
        kinds = [event.type for event in stream]
        whole = stream.get_final_response()
    assert kinds.count("response.output_text.delta") > 20
    assert kinds.count("response.reasoning_summary_text.delta") > 5
    assert [item.type for item in whole.output] == ["reasoning", "message"]
    assert "a red fish" in whole.output_text


@pytest.mark.parametrize("streaming", [False, True])
def test_responses_calls_a_tool_and_uses_its_result(gpt, streaming):
    tools = [{"type": "function", "name": "get_weather", "parameters": WEATHER}]
    asked = {"model": "demo-large", "tools": tools}

    def ask(items):
        if not streaming:
            return gpt.responses.create(input=items, **asked)
        with gpt.responses.stream(input=items, **asked) as stream:
            return stream.get_final_response()

    call = ask(user(ASK_FOR_TOOL)).output[0]
    assert (call.type, call.name) == ("function_call", "get_weather")
    result = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": "4 degrees",
    }
    said = call.model_dump(include={"type", "call_id", "name", "arguments"})
    second = ask([*user(ASK_FOR_TOOL), said, result])
    assert "4 degrees" in second.output_text


def test_models_are_listed_for_both_sdks(claude, gpt):
    expected = ["demo-large", "demo-small"]
    assert [model.id for model in claude.models.list()] == expected
    assert [model.id for model in gpt.models.list()] == expected
    assert claude.models.retrieve("demo-small").display_name == "Demo Small"
    assert gpt.models.retrieve("demo-small").owned_by == "demo"


def test_a_wrong_key_raises_the_typed_error_of_each_sdk(demo):
    with (
        anthropic.Anthropic(api_key="no", base_url=demo, max_retries=0) as claude,
        pytest.raises(anthropic.AuthenticationError, match="does not know this key"),
    ):
        claude.messages.create(model="demo", max_tokens=5, messages=user("x"))
    with openai.OpenAI(api_key="no", base_url=f"{demo}/v1", max_retries=0) as gpt:
        with pytest.raises(openai.AuthenticationError, match="does not know this key"):
            gpt.chat.completions.create(model="demo", messages=user("x"))
        with pytest.raises(openai.AuthenticationError, match="does not know this key"):
            gpt.responses.create(model="demo", input="x", stream=True)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/messages", b"{", 400, "not JSON"),
        ("/v1/messages", b"[]", 400, "not a JSON object"),
        ("/v1/messages", b'{"messages": []}', 400, "model"),
        ("/v1/chat/completions", b'{"model": "m"}', 400, "messages"),
        ("/v1/responses", b'{"model": "m", "input": 5}', 400, "input"),
        ("/v1/embeddings", b"{}", 404, "no POST /v1/embeddings"),
        ("/v1/messages", b"[" * 100_000, 400, "not JSON"),
    ],
)
def test_a_bad_request_is_refused_in_an_envelope(demo, path, body, status, message):
    answer = httpx.post(demo + path, content=body, headers={"x-api-key": "demo-key"})
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


def test_words_of_a_stream_come_at_the_chosen_pace():
    process, url = start_demo("--pace", "0.02")
    asked = {"model": "m", "messages": user("x"), "stream": True}
    headers = {"authorization": "Bearer demo-key"}
    try:
        with httpx.stream(
            "POST", f"{url}/v1/chat/completions", json=asked, headers=headers
        ) as answer:
            arrivals = [time.monotonic() for line in answer.iter_lines() if line]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
    assert arrivals[-1] - arrivals[0] > 0.4


def test_it_ends_when_the_process_that_started_it_is_gone(tmp_path):
    script = (
        "import subprocess, sys\n"
        f"demo = subprocess.Popen({COMMAND!r}, stdout=subprocess.PIPE, text=True)\n"
        "print(demo.pid, demo.stdout.readline().strip(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid, url = parent.stdout.readline().split()
    assert httpx.get(url, headers={"x-api-key": "demo-key"}).status_code == 404
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(10)
    parent.stdin.close()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _is_listening(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_listening(url), f"process {pid} still serves"


def _is_listening(url: str) -> bool:
    try:
        httpx.get(url)
    except httpx.ConnectError:
        return False
    return True


def test_a_taken_port_is_an_error(demo):
    port = demo.rpartition(":")[2]
    done = subprocess.run(
        [*COMMAND[:-1], port], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert done.stdout == ""

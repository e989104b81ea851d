"""Every provider kind reaches its upstream the way that upstream wants it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import anthropic
import httpx
import openai
import pytest
from botocore.credentials import Credentials

from interceptions.models import Interception
from providers.models import AiProvider
from tests.answers import Answer, SeenRequest, simple_answer
from tests.aws import FRAMES, exception_frame, frames_of
from tests.live.apis import CHAT, MESSAGES, RESPONSES, Api
from tests.live.gateway import Gateway
from tests.proxy.test_bedrock import ALL_FLAGS, resigned
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live

HELLO = [{"role": "user", "content": "hi"}]


def recorded(answer: httpx.Response) -> Interception:
    return Interception.objects.get(pk=answer.headers["x-aibridge-interception-id"])


# Kinds that speak OpenAI's APIs


@pytest.mark.parametrize(
    ("kind", "header", "value"),
    [
        ("openai", "authorization", "Bearer key-a"),
        ("azure", "api-key", "key-a"),
        ("google", "authorization", "Bearer key-a"),
        ("openrouter", "authorization", "Bearer key-a"),
        ("openai-compat", "authorization", "Bearer key-a"),
    ],
)
@pytest.mark.parametrize("api", [CHAT, RESPONSES], ids=lambda api: api.name)
def test_openai_kinds(kind, header, value, api: Api, gateway, served, token, upstream):
    provider = served(kind, base_url=f"{upstream.url}/base/v1")
    answer = api.call(gateway.url, provider.name, token)
    assert answer.status_code == 200
    seen = upstream.last
    assert seen.path == f"/base/{api.route}"
    auth = ("authorization", "api-key", "x-api-key")
    assert {n: seen.header(n) for n in auth if seen.header(n)} == {header: value}
    assert recorded(answer).provider_kind == kind


def test_azure_equals_what_the_official_azure_client_sends(
    gateway: Gateway, served, token, upstream: FakeUpstream
):
    deployment = f"{upstream.url}/openai/deployments/gpt-4.1"
    asked = {"model": "gpt-4.1", "messages": HELLO}
    openai.AzureOpenAI(
        azure_endpoint=upstream.url,
        api_key="key-a",
        api_version="2026-01-01",
        max_retries=0,
    ).chat.completions.create(**asked)
    provider = served("azure", base_url=deployment)
    openai.OpenAI(
        base_url=f"{gateway.url}/aibridge/{provider.name}/v1",
        api_key=token,
        default_query={"api-version": "2026-01-01"},
        max_retries=0,
    ).chat.completions.create(**asked)
    direct, through = upstream.requests
    assert through.target == direct.target
    assert through.header("api-key") == direct.header("api-key") == "key-a"
    assert through.json() == direct.json()
    assert not through.header("authorization")


def test_chatgpt_login_is_an_openai_provider(gateway, served, token, upstream):
    provider = served("openai", (), base_url=f"{upstream.url}/backend-api/codex")
    answer = RESPONSES.call(
        gateway.url,
        provider.name,
        token,
        streaming=True,
        headers={
            "X-AIBridge-Token": token,
            "Authorization": "Bearer chatgpt-login",
            "ChatGPT-Account-Id": "acc_1",
        },
    )
    assert answer.status_code == 200
    assert upstream.last.path == "/backend-api/codex/responses"
    assert upstream.last.header("authorization") == "Bearer chatgpt-login"
    assert upstream.last.header("chatgpt-account-id") == "acc_1"
    assert recorded(answer).credential_kind == "byok"


# Copilot

COPILOT_APIS = (
    Api("messages", "copilot", "v1/messages", MESSAGES.request),
    Api("chat", "copilot", "chat/completions", CHAT.request),
    Api("responses", "copilot", "responses", RESPONSES.request),
)


@pytest.fixture(params=COPILOT_APIS, ids=lambda api: api.name)
def copilot(request) -> Api:
    return request.param


@pytest.mark.parametrize("streaming", [False, True], ids=["blocking", "streaming"])
def test_copilot_uses_the_users_own_token(
    copilot: Api, streaming, gateway, served, token, upstream
):
    provider = served("copilot", ())
    answer = copilot.call(
        gateway.url,
        provider.name,
        token,
        streaming=streaming,
        headers={
            "X-AIBridge-Token": token,
            "Authorization": "Bearer test-token",
            "Editor-Version": "vscode/1.85.0",
            "Copilot-Integration-Id": "test",
            "X-Api-Key": "never",
        },
    )
    assert answer.status_code == 200
    seen = upstream.last
    assert seen.path == f"/{copilot.route}"
    assert seen.header("authorization") == "Bearer test-token"
    assert seen.header("editor-version") == "vscode/1.85.0"
    assert seen.header("copilot-integration-id") == "test"
    assert not seen.header("x-api-key")
    row = recorded(answer)
    assert (row.outcome, row.credential_kind, row.credential_hint) == (
        "completed",
        "byok",
        "te...en",
    )


@pytest.mark.parametrize("own", ["", "InvalidFormat"])
def test_copilot_without_an_own_token_is_refused(
    own: str, copilot: Api, gateway, served, token, upstream
):
    provider = served("copilot", ())
    headers = {"X-AIBridge-Token": token, "Authorization": own}
    answer = copilot.call(gateway.url, provider.name, token, headers=headers)
    assert answer.status_code == 401
    assert not upstream.requests


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "too long", "code": "context_length_exceeded"}},
        {"type": "error", "error": {"type": "x_error", "message": "too long"}},
        {"message": "too long"},
        "too long",
    ],
    ids=["openai", "anthropic", "bare", "text"],
)
def test_copilots_mixed_errors_are_read(
    error, copilot: Api, gateway, served, token, upstream
):
    body = error if isinstance(error, str) else json.dumps(error)
    upstream.script(None, 400, body=body)
    headers = {"X-AIBridge-Token": token, "Authorization": "Bearer test-token"}
    provider = served("copilot", ())
    answer = copilot.call(gateway.url, provider.name, token, headers=headers)
    assert (answer.status_code, answer.text) == (400, body)
    row = recorded(answer)
    assert (row.error_type, row.error_message) == ("bad_request", "too long")


# Bedrock

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def bedrock(served) -> AiProvider:
    return served("bedrock", (), **bedrock_fields())


def bedrock_fields(**options: str) -> dict[str, object]:
    secrets = {"access_key": ACCESS_KEY, "access_key_secret": SECRET}
    settings = {
        "region": "us-east-1",
        "model": "danthropic",
        "small_fast_model": "beddel:0",
    }
    return {"options": settings | options, "secret_options": json.dumps(secrets)}


def in_frames(request: SeenRequest) -> Answer:
    """Return a Messages answer as Bedrock frames it."""
    if request.path.endswith("/invoke"):
        return Answer(body=simple_answer("anthropic_messages", False))
    headers = {"content-type": FRAMES, "x-amzn-requestid": "aws-1"}
    frames = frames_of(simple_answer("anthropic_messages", True))
    return Answer(chunks=frames, headers=headers)


def assert_signed(seen: SeenRequest) -> None:
    """Say whether botocore signs the request as it came in the same way."""
    url = f"http://{seen.header('host')}{seen.target}"
    signed = seen.header("authorization").partition("SignedHeaders=")[2]
    names = signed.partition(",")[0].split(";")
    headers = {name.title(): seen.header(name) for name in names if name != "host"}
    credentials = Credentials(ACCESS_KEY, SECRET)
    assert seen.header("authorization") == resigned(
        headers, url, seen.body, "us-east-1", credentials
    )


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_bedrock_streams_what_anthropic_would(
    seed, bedrock, gateway, token, upstream: FakeUpstream
):
    def answer(request: SeenRequest) -> Answer:
        made = in_frames(request)
        return Answer(chunks=made.chunks, headers=made.headers, seed=seed)

    upstream.answer_with(answer)
    client = anthropic.Anthropic(
        base_url=f"{gateway.url}/aibridge/{bedrock.name}",
        auth_token=token,
        max_retries=0,
    )
    with client.messages.stream(
        model="claude-opus-4-5", max_tokens=100, messages=HELLO
    ) as stream:
        assert "".join(stream.text_stream) == "Hello from upstream."
        assert stream.response.headers["request-id"] == "aws-1"
    seen = upstream.last
    assert seen.path == "/model/danthropic/invoke-with-response-stream"
    assert not {"model", "stream"} & set(seen.json())
    assert_signed(seen)
    row = Interception.objects.first()
    assert (row.model, row.outcome, row.streaming) == ("danthropic", "completed", True)
    assert (row.credential_hint, row.credential_kind) == ("AKIA...MPLE", "centralized")
    assert row.output_tokens > 0
    assert row.attempts.get().upstream_request_id == "aws-1"


def test_bedrock_whole_answer_of_the_small_model(bedrock, gateway, token, upstream):
    upstream.answer_with(in_frames)
    answer = MESSAGES.call(
        gateway.url,
        bedrock.name,
        token,
        model="claude-3-5-haiku-20241022",
        metadata={"user_id": "x"},
        headers={
            "Anthropic-Beta": ALL_FLAGS,
            "Anthropic-Version": "2023-06-01",
            "X-Amz-Security-Token": "forged",
        },
    )
    assert answer.status_code == 200
    seen = upstream.last
    assert seen.path == "/model/beddel%3A0/invoke"
    assert seen.json()["anthropic_beta"] == ["interleaved-thinking-2025-05-14"]
    assert seen.json()["anthropic_version"] == "bedrock-2023-05-31"
    assert "metadata" not in seen.json()
    for name in ("anthropic-beta", "anthropic-version", "x-amz-security-token"):
        assert not seen.header(name)
    assert seen.header("content-type") == "application/json"
    assert_signed(seen)
    assert recorded(answer).model == "beddel:0"


def test_bedrock_upstream_that_speaks_plain_events(bedrock, gateway, token, upstream):
    stream = simple_answer("anthropic_messages", True)
    events = {"content-type": "text/event-stream"}
    upstream.answer_with(lambda request: Answer(chunks=[stream], headers=events))
    answer = MESSAGES.call(gateway.url, bedrock.name, token, streaming=True)
    assert answer.content == stream


def test_bedrock_stream_that_throttles_midway(bedrock, gateway, token, upstream):
    frames = frames_of(simple_answer("anthropic_messages", True))[:3]
    frames.append(exception_frame("throttlingException", "Too many tokens"))
    headers = {"content-type": FRAMES}
    upstream.answer_with(lambda request: Answer(chunks=frames, headers=headers))
    answer = MESSAGES.call(gateway.url, bedrock.name, token, streaming=True)
    assert b"event: error" in answer.content
    row = recorded(answer)
    assert (row.error_type, row.error_message) == ("rate_limited", "Too many tokens")


def test_bedrock_stream_that_is_cut(bedrock, gateway, token, upstream):
    frames = frames_of(simple_answer("anthropic_messages", True))
    headers = {"content-type": FRAMES}
    upstream.answer_with(
        lambda request: Answer(chunks=[*frames[:3], frames[3][:20]], headers=headers)
    )
    answer = MESSAGES.call(gateway.url, bedrock.name, token, streaming=True)
    assert b"event: error" in answer.content
    assert recorded(answer).error_type == "server_error"


def test_broken_bedrock_provider_says_why_and_stops_no_other(
    gateway, make_provider, served, token, upstream
):
    broken = make_provider("bedrock", (), base_url="", options={}, secret_options="")
    working = served("anthropic")
    answer = MESSAGES.call(gateway.url, broken.name, token)
    assert answer.status_code == 503
    assert "create anthropic client" in answer.text
    assert "region or base url required" in answer.text
    assert answer.json()["type"] == "error"
    assert MESSAGES.call(gateway.url, working.name, token).status_code == 200


def test_unknown_kind_stops_no_other(gateway, make_provider, served, token, upstream):
    broken = make_provider("vercel", ())
    working = served("anthropic")
    answer = CHAT.call(gateway.url, broken.name, token)
    assert answer.status_code == 503
    message = answer.json()["error"]["message"]
    assert message.endswith('the kind "vercel" is not supported')
    assert MESSAGES.call(gateway.url, working.name, token).status_code == 200


# Actor headers (table 30.14)


@pytest.mark.parametrize("streaming", [False, True], ids=["blocking", "streaming"])
@pytest.mark.parametrize("api", [CHAT, RESPONSES, MESSAGES], ids=lambda api: api.name)
@pytest.mark.parametrize("sent", [True, False], ids=["on", "off"])
def test_actor_headers(sent, api: Api, streaming, gateway, served, token, upstream):
    provider = served(api.kind, send_actor_headers=sent)
    answer = api.call(
        gateway.url,
        provider.name,
        token,
        streaming=streaming,
        headers={
            "X-AI-Bridge-Actor-ID": "root",
            "X-AI-Bridge-Actor-Metadata-Username": "root",
            "X-AI-Bridge-Actor-Metadata-Other": "root",
        },
    )
    row = recorded(answer)
    told = {
        name.lower(): value
        for name, value in upstream.last.headers
        if name.lower().startswith("x-ai-bridge-actor")
    }
    expected = {
        "x-ai-bridge-actor-id": str(row.initiator_id),
        "x-ai-bridge-actor-metadata-username": row.initiator.username,
    }
    assert told == (expected if sent else {})


# API dump (table 30.22)


def dumped(directory: Path, count: int) -> dict[str, bytes]:
    """Return the dump files by their suffix, once all are there."""
    deadline = time.monotonic() + 5
    while True:
        found = [path for path in directory.rglob("*.txt") if path.stat().st_size]
        if len(found) >= count or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert len(found) == count, found
    return {path.name.split(".", 1)[1]: path.read_bytes() for path in found}


@pytest.mark.parametrize(
    "api",
    [MESSAGES, CHAT, RESPONSES, *COPILOT_APIS],
    ids=lambda api: api.kind + api.name,
)
@pytest.mark.parametrize("streaming", [False, True], ids=["blocking", "streaming"])
def test_dump_of_a_bridged_call(
    api: Api, streaming, gateway, served, token, upstream, data_dir
):
    keys = () if api.kind == "copilot" else ("key-secret-a",)
    provider = served(api.kind, keys, api_dump=True)
    headers = {"X-AIBridge-Token": token, "Authorization": "Bearer user-secret-token"}
    answer = api.call(
        gateway.url,
        provider.name,
        token,
        streaming=streaming,
        headers=headers if not keys else {},
    )
    directory = data_dir / "dumps" / provider.name
    files = dumped(directory, 2)
    head, _, body = files["req.txt"].partition(b"\r\n\r\n")
    assert json.loads(body) == upstream.last.json()
    assert files["resp.txt"].partition(b"\r\n\r\n")[2] == answer.content
    everything = b"".join(files.values())
    for secret in (b"key-secret-a", b"user-secret-token", token.encode()):
        assert secret not in everything
    (folder,) = directory.iterdir()
    assert folder.name == api.request["model"]


def test_dump_of_forwarded_calls(gateway, served, token, upstream, data_dir):
    provider = served("openai", api_dump=True)
    for route in ("v1/models", "v1/conversations"):
        httpx.get(
            f"{gateway.url}/aibridge/{provider.name}/{route}",
            headers={"Authorization": f"Bearer {token}"},
        )
    directory = data_dir / "dumps" / provider.name / "passthrough"
    dumped_names = sorted(path.name for path in directory.iterdir())
    assert len(dumped_names) == 4
    assert sum("-models-" in name for name in dumped_names) == 2
    assert sum("-conversations-" in name for name in dumped_names) == 2


def test_no_dump_unless_asked(gateway, served, token, upstream, data_dir):
    provider = served("openai")
    CHAT.call(gateway.url, provider.name, token)
    assert not (data_dir / "dumps" / provider.name).exists()

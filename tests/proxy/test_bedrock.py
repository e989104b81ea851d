"""From a Messages request to InvokeModel, signed (reference table 30.20)."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import anthropic
import httpx2
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from providers.bedrock import BedrockConfigError, BedrockSettings
from proxy import bedrock
from proxy.bedrock import (
    ADAPTIVE_MODELS,
    CHAIN_HINT,
    MissingMaxTokens,
    SigV4Credential,
    augment,
    convert_thinking,
    filter_beta_flags,
    find_credentials,
    find_region,
    invoke_body,
    invoke_headers,
    invoke_url,
)
from proxy.dialects.splice import REMOVED

SONNET_4_5 = "anthropic.claude-sonnet-4-5-20241022-v2:0"
OPUS_4_5 = "anthropic.claude-opus-4-5-20250514-v1:0"
HAIKU_4_5 = "anthropic.claude-haiku-4-5-20250514-v1:0"
OPUS_4_6 = "anthropic.claude-opus-4-6-20260619-v1:0"
SONNET_4_6 = "anthropic.claude-sonnet-4-6-20260619-v1:0"

INTERLEAVED = "interleaved-thinking-2025-05-14"
EFFORT = "effort-2025-11-24"
CONTEXT = "context-management-2025-06-27"
ADAPTIVE = {"type": "adaptive"}
SETTINGS = BedrockSettings(
    region="us-east-1",
    model="danthropic",
    small_fast_model="beddel",
    access_key="AKIAIOSFODNN7EXAMPLE",
    access_key_secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
)


def enabled(budget: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": budget}


# Thinking


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"max_tokens": 10000}, None),
        ({"max_tokens": 10000, "thinking": enabled(5000)}, None),
        ({"max_tokens": 10000, "thinking": ADAPTIVE}, enabled(8000)),
        (
            {
                "max_tokens": 10000,
                "thinking": ADAPTIVE,
                "output_config": {"effort": "low"},
            },
            enabled(2000),
        ),
        (
            {
                "max_tokens": 10000,
                "thinking": ADAPTIVE,
                "output_config": {"effort": "medium"},
            },
            enabled(5000),
        ),
        (
            {
                "max_tokens": 10000,
                "thinking": ADAPTIVE,
                "output_config": {"effort": "max"},
            },
            enabled(9500),
        ),
        ({"max_tokens": 512, "thinking": ADAPTIVE}, {"type": "disabled"}),
    ],
    ids=[
        "none",
        "enabled is kept",
        "adaptive",
        "low effort",
        "medium effort",
        "max effort",
        "too few tokens",
    ],
)
def test_adaptive_thinking_is_converted(body: dict[str, Any], expected: Any):
    assert convert_thinking(body, SONNET_4_5) == expected


@pytest.mark.parametrize("tokens", [None, 0, -1, "many"])
def test_adaptive_thinking_needs_max_tokens(tokens: Any):
    with pytest.raises(MissingMaxTokens, match="max_tokens: field required"):
        convert_thinking({"thinking": ADAPTIVE, "max_tokens": tokens}, SONNET_4_5)


# The whole body


@pytest.mark.parametrize(
    ("model", "flags", "body", "changes", "kept"),
    [
        (SONNET_4_5, [], {"thinking": ADAPTIVE}, {"thinking": enabled(8000)}, []),
        (
            SONNET_4_5,
            [],
            {"thinking": ADAPTIVE, "max_tokens": 1000},
            {"thinking": {"type": "disabled"}},
            [],
        ),
        (OPUS_4_6, [], {"thinking": ADAPTIVE}, {}, []),
        (SONNET_4_6, [], {"thinking": ADAPTIVE}, {}, []),
        (SONNET_4_5, [], {}, {}, []),
        (SONNET_4_5, [], {"thinking": enabled(5000)}, {}, []),
        (
            SONNET_4_5,
            [],
            {"thinking": ADAPTIVE, "output_config": {"effort": "low"}},
            {"thinking": enabled(2000), "output_config": REMOVED},
            [],
        ),
        (
            OPUS_4_5,
            [f"{EFFORT},{INTERLEAVED}"],
            {"output_config": {"effort": "low"}},
            {},
            [EFFORT, INTERLEAVED],
        ),
        (
            SONNET_4_5,
            [f"{EFFORT},{INTERLEAVED}"],
            {"output_config": {"effort": "low"}},
            {"output_config": REMOVED},
            [INTERLEAVED],
        ),
        (SONNET_4_5, [CONTEXT], {"context_management": {}}, {}, [CONTEXT]),
        (
            SONNET_4_5,
            [],
            {"context_management": {}},
            {"context_management": REMOVED},
            [],
        ),
        (
            OPUS_4_6,
            [CONTEXT],
            {"context_management": {}},
            {"context_management": REMOVED},
            [],
        ),
        (
            SONNET_4_5,
            [f"claude-code-20250219,prompt-caching-scope-2026-01-05,{INTERLEAVED}"],
            {},
            {},
            [INTERLEAVED],
        ),
        (
            SONNET_4_5,
            ["unknown-2026-01-01"],
            {
                "output_config": {},
                "metadata": {},
                "service_tier": "auto",
                "container": {},
                "inference_geo": "eu",
                "context_management": {},
            },
            dict.fromkeys(
                (
                    "metadata",
                    "service_tier",
                    "container",
                    "inference_geo",
                    "output_config",
                    "context_management",
                ),
                REMOVED,
            ),
            [],
        ),
    ],
    ids=[
        "non_4_6 adaptive",
        "small max_tokens",
        "opus_4_6 adaptive",
        "sonnet_4_6 adaptive",
        "no thinking",
        "thinking enabled",
        "output_config stripped without flag",
        "output_config kept on opus 4.5 with flag",
        "output_config stripped on sonnet 4.5 even with flag",
        "context_management kept on sonnet 4.5 with flag",
        "context_management stripped without flag",
        "context_management stripped on opus 4.6 even with flag",
        "unsupported flags filtered",
        "all unsupported stripped",
    ],
)
def test_augment(model: str, flags: list[str], body: Any, changes: Any, kept: Any):
    assert augment({"max_tokens": 10000} | body, model, flags) == (changes, kept)


def test_later_edits_are_skipped_when_thinking_cannot_be_converted():
    body = {"thinking": ADAPTIVE, "metadata": {}}
    assert augment(body, SONNET_4_5, ["a,b"]) == ({}, ["a", "b"])


@pytest.mark.parametrize(
    ("lines", "model", "kept"),
    [
        ([], OPUS_4_5, []),
        ([f"{INTERLEAVED},{EFFORT}"], OPUS_4_5, [INTERLEAVED, EFFORT]),
        ([f"{INTERLEAVED},prompt-caching-2024-07-31"], OPUS_4_5, [INTERLEAVED]),
        (["prompt-caching-2024-07-31"], OPUS_4_5, []),
        ([EFFORT], SONNET_4_5, []),
        ([EFFORT], OPUS_4_5, [EFFORT]),
        ([CONTEXT], SONNET_4_5, [CONTEXT]),
        ([CONTEXT], HAIKU_4_5, [CONTEXT]),
        ([CONTEXT], OPUS_4_5, []),
        ([INTERLEAVED, EFFORT], OPUS_4_5, [INTERLEAVED, EFFORT]),
        (
            [f"{INTERLEAVED}, {EFFORT}", "context-1m-2025-08-07"],
            OPUS_4_5,
            [INTERLEAVED, EFFORT, "context-1m-2025-08-07"],
        ),
    ],
    ids=[
        "empty",
        "all supported",
        "unsupported removed",
        "none left",
        "effort not on sonnet",
        "effort on opus 4.5",
        "context on sonnet 4.5",
        "context on haiku 4.5",
        "context not on opus",
        "separate lines",
        "mixed commas and lines",
    ],
)
def test_beta_flags(lines: list[str], model: str, kept: list[str]):
    assert filter_beta_flags(lines, model) == kept


def test_invoke_body_has_no_model_and_stream_but_a_version():
    raw = b'{"model":"claude","stream":true, "max_tokens": 10,"temperature":1.0}'
    body = invoke_body(raw, json.loads(raw), "danthropic", [INTERLEAVED])
    assert body == (
        b'{ "max_tokens": 10,"temperature":1.0,'
        b'"anthropic_version":"bedrock-2023-05-31",'
        b'"anthropic_beta":["interleaved-thinking-2025-05-14"]}'
    )


def test_version_and_flags_of_the_clients_body_count():
    parsed = {"anthropic_version": "own", "anthropic_beta": [INTERLEAVED, "unknown"]}
    body = json.loads(invoke_body(json.dumps(parsed).encode(), parsed, OPUS_4_5, []))
    assert body == {"anthropic_version": "own", "anthropic_beta": [INTERLEAVED]}


def test_flags_that_bedrock_does_not_know_leave_no_list():
    parsed = {"anthropic_beta": ["unknown"]}
    body = json.loads(invoke_body(b'{"anthropic_beta":["unknown"]}', parsed, "m", []))
    assert "anthropic_beta" not in body


ALL_FLAGS = (
    "interleaved-thinking-2025-05-14,effort-2025-11-24,"
    "context-management-2025-06-27,prompt-caching-scope-2026-01-05"
)


@pytest.mark.parametrize(
    ("model", "thinking", "kept", "flags"),
    [
        ("beddel", enabled(16000), None, [INTERLEAVED]),
        (OPUS_4_5, enabled(16000), "output_config", [INTERLEAVED, EFFORT]),
        (SONNET_4_5, enabled(16000), "context_management", [INTERLEAVED, CONTEXT]),
        (OPUS_4_6, ADAPTIVE, None, [INTERLEAVED]),
    ],
)
def test_simple_bedrock(model: str, thinking: Any, kept: str | None, flags: list[str]):
    fields = (
        "metadata",
        "service_tier",
        "container",
        "inference_geo",
        "output_config",
        "context_management",
    )
    parsed = {"max_tokens": 20000, "thinking": ADAPTIVE} | {
        name: {"some": "value"} for name in fields
    }
    raw = json.dumps(parsed).encode()
    body = json.loads(invoke_body(raw, parsed, model, [ALL_FLAGS]))
    assert body["thinking"] == thinking
    assert body["anthropic_beta"] == flags
    assert [name for name in fields if name in body] == ([kept] if kept else [])


def test_table_of_adaptive_models_names_ids():
    assert all(name.startswith("anthropic.claude-") for name in ADAPTIVE_MODELS)


# Where and how


@pytest.mark.parametrize(
    ("model", "streaming", "path"),
    [
        ("danthropic", False, "/model/danthropic/invoke"),
        ("danthropic", True, "/model/danthropic/invoke-with-response-stream"),
        ("anthropic.claude-v2:0", False, "/model/anthropic.claude-v2%3A0/invoke"),
        ("arn:aws:x/y", False, "/model/arn%3Aaws%3Ax%2Fy/invoke"),
    ],
)
def test_url(model: str, streaming: bool, path: str):
    url = invoke_url(SETTINGS, model, streaming=streaming)
    assert url.raw_path.decode() == path


def test_headers_that_only_a_signer_may_set_stay_behind():
    sent = [("X-Amz-Date", "x"), ("Anthropic-Beta", "a"), ("User-Agent", "me")]
    assert invoke_headers(sent) == [("User-Agent", "me")]


@pytest.mark.parametrize(
    ("settings", "region"),
    [
        (SETTINGS, "us-east-1"),
        (
            BedrockSettings(
                base_url="https://bedrock-runtime.eu-west-3.amazonaws.com/"
            ),
            "eu-west-3",
        ),
    ],
)
def test_region(settings: BedrockSettings, region: str):
    assert find_region(settings) == region


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path) -> pytest.MonkeyPatch:
    """An environment without AWS credentials, and a fresh session in it."""
    import os

    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bedrock.aws_session.cache_clear()
    yield monkeypatch
    bedrock.aws_session.cache_clear()


CHAIN = BedrockSettings(region="us-east-1", model="m", small_fast_model="s")


def test_chain_finds_keys_of_the_environment(aws: pytest.MonkeyPatch):
    aws.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    aws.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    found = find_credentials(CHAIN)
    assert (found.access_key, found.token) == ("AKIDENV", None)
    assert SigV4Credential(CHAIN).hint == CHAIN_HINT


def test_chain_finds_a_session_token(aws: pytest.MonkeyPatch):
    aws.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    aws.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    aws.setenv("AWS_SESSION_TOKEN", "token")
    url = str(invoke_url(CHAIN, "m", streaming=False))
    headers = dict(SigV4Credential(CHAIN).headers(None, "POST", url, b"{}"))
    assert headers["X-Amz-Security-Token"] == "token"


def test_chain_that_finds_nothing_says_so(aws: pytest.MonkeyPatch):
    with pytest.raises(BedrockConfigError, match="no AWS credentials found"):
        find_credentials(CHAIN)


def test_broken_configuration_says_so(aws: pytest.MonkeyPatch):
    aws.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(BedrockConfigError, match="failed to load AWS Bedrock config"):
        find_credentials(CHAIN)


def test_hint_of_static_keys():
    assert SigV4Credential(SETTINGS).hint == "AKIA...MPLE"


# Oracles


def random_text(source: random.Random, alphabet: str, most: int) -> str:
    return "".join(source.choices(alphabet, k=source.randint(1, most)))


def signature_of(headers: dict[str, str]) -> str:
    return headers["Authorization"]


def resigned(
    headers: dict[str, str], url: str, body: bytes, region: str, credentials: Any
) -> str:
    """Return the Authorization that botocore gives to a request as it was sent.

    What the wire shows is all that is used: method, URL, headers, body.
    """
    shown = {k: v for k, v in headers.items() if k != "Authorization"}
    request = AWSRequest(method="POST", url=url, data=body, headers=shown)
    request.context["timestamp"] = headers["X-Amz-Date"]
    signer = SigV4Auth(credentials, "bedrock", region)
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    names = signer.signed_headers(signer.headers_to_sign(request))
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, "
        f"SignedHeaders={names}, Signature={signer.signature(to_sign, request)}"
    )


def test_a_thousand_signatures_equal_botocores():
    source = random.Random(7)
    for _ in range(1000):
        model = random_text(source, string.ascii_letters + ":./-_ ~%é@+", 40)
        region = random_text(source, string.ascii_lowercase + "-1234", 12)
        settings = BedrockSettings(
            region=region,
            base_url=source.choice(["", "http://127.0.0.1:8080/base"]),
            access_key="AKID" + random_text(source, string.ascii_uppercase, 16),
            access_key_secret=random_text(source, string.printable, 40),
            session_token=source.choice(["", "token/+="]),
        )
        url = str(invoke_url(settings, model, streaming=source.random() < 0.5))
        body = source.randbytes(source.randint(0, 300))
        headers = dict(SigV4Credential(settings).headers(None, "POST", url, body))
        # Credentials are trimmed where they are configured, not where they sign.
        credentials = Credentials(
            settings.access_key,
            settings.access_key_secret,
            settings.session_token or None,
        )
        assert headers["Authorization"] == resigned(
            headers, url, body, region, credentials
        )


@pytest.mark.parametrize("streaming", [False, True])
def test_url_and_body_equal_those_of_the_official_client(streaming: bool):
    seen: list[httpx2.Request] = []

    def refuse(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(400, json={"message": "seen"})

    client = anthropic.AnthropicBedrock(
        aws_access_key=SETTINGS.access_key,
        aws_secret_key=SETTINGS.access_key_secret,
        aws_region="us-east-1",
        http_client=httpx2.Client(transport=httpx2.MockTransport(refuse)),
        max_retries=0,
    )
    asked = {
        "model": OPUS_4_5,
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "hi"}],
    }
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(
            **asked,
            stream=streaming,
            extra_headers={"anthropic-beta": INTERLEAVED},
        )
    (request,) = seen
    ours = asked | {"stream": streaming}
    body = invoke_body(json.dumps(ours).encode(), ours, OPUS_4_5, [INTERLEAVED])
    settings = BedrockSettings(region="us-east-1")
    url = invoke_url(settings, OPUS_4_5, streaming=streaming)
    theirs = json.loads(request.read())
    theirs.setdefault("stream", None)
    del theirs["stream"]
    # The official client sends the first-party version, which Bedrock also takes.
    version = {"anthropic_version": bedrock.VERSION}
    assert json.loads(body) == theirs | version
    assert httpx2.URL(str(url)).raw_path.replace(b"%3A", b":") == (
        request.url.raw_path.replace(b"%3A", b":")
    )
    assert url.host == request.url.host

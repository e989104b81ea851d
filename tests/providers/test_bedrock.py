"""Which Bedrock settings can be used (reference table 30.20)."""

from __future__ import annotations

import pytest

from providers.bedrock import BedrockConfigError, BedrockSettings, problem, validate

WHOLE = {
    "region": "us-east-1",
    "base_url": "https://bedrock.example.com",
    "model": "anthropic.claude-opus-4-5",
    "small_fast_model": "anthropic.claude-haiku-4-5",
    "access_key": "AKIAIOSFODNN7EXAMPLE",
    "access_key_secret": "a-secret",
}


def without(*names: str) -> BedrockSettings:
    return BedrockSettings(**(WHOLE | dict.fromkeys(names, "")))


@pytest.mark.parametrize(
    "settings",
    [
        without("base_url"),
        without("region"),
        without(),
        without("access_key", "access_key_secret"),
    ],
    ids=["static and region", "static and base url", "both", "aws chain"],
)
def test_settings_that_can_be_used(settings: BedrockSettings):
    validate(settings)
    assert problem(settings) == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (without("region", "base_url"), "region or base url required"),
        (without("access_key"), "must be provided together"),
        (without("access_key_secret"), "must be provided together"),
        (without("model"), "model required"),
        (without("small_fast_model"), "small fast model required"),
        (BedrockSettings(), "region or base url required"),
        (None, "nil config given"),
    ],
    ids=[
        "no region and base url",
        "no access key",
        "no secret",
        "no model",
        "no small model",
        "all empty",
        "nil config",
    ],
)
def test_settings_that_cannot(settings: BedrockSettings | None, message: str):
    with pytest.raises(BedrockConfigError, match=message):
        validate(settings)


def test_problem_names_the_client_that_cannot_be_made():
    assert problem(BedrockSettings()) == (
        "create anthropic client: region or base url required"
    )


def test_base_url_wins_over_the_region():
    assert without().endpoint == "https://bedrock.example.com"
    assert without("base_url").endpoint == (
        "https://bedrock-runtime.us-east-1.amazonaws.com"
    )


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ("claude-3-5-haiku-20241022", WHOLE["small_fast_model"]),
        ("claude-opus-4-5", WHOLE["model"]),
        ("", WHOLE["model"]),
    ],
)
def test_haiku_is_answered_by_the_small_model(asked: str, model: str):
    assert without().model_for(asked) == model


def test_settings_are_read_from_a_providers_columns():
    options = {"region": " eu-west-1 ", "model": "m", "small_fast_model": 5}
    secrets = {"access_key": "k", "access_key_secret": "s", "session_token": "t"}
    read = BedrockSettings.read("", options, secrets)
    assert (read.region, read.model, read.small_fast_model) == ("eu-west-1", "m", "")
    assert read.has_static_keys
    assert "'s'" not in repr(read)

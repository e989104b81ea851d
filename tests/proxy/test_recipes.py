"""The settings that clients are given point at the gateway and hold the token."""

from __future__ import annotations

import json

import pytest

from providers.kinds import KINDS, Kind
from proxy.recipes import PLACEHOLDER, Target, recipes_for

TARGET = Target("https://ai.example.org", "main", "aib_12345678_secret", "model-x")


def texts(kind):
    return {
        recipe.client: "\n".join(part.text for part in recipe.snippets)
        for recipe in recipes_for(kind, TARGET)
    }


def test_claude_code_gets_the_root_and_the_token():
    text = texts(Kind.ANTHROPIC)["Claude Code"]
    assert 'ANTHROPIC_BASE_URL="https://ai.example.org/aibridge/main"' in text
    assert 'ANTHROPIC_AUTH_TOKEN="aib_12345678_secret"' in text


def test_codex_gets_the_versioned_base_and_the_responses_api():
    text = texts(Kind.OPENAI)["Codex"]
    assert 'base_url = "https://ai.example.org/aibridge/main/v1"' in text
    assert 'wire_api = "responses"' in text
    assert 'export AIBRIDGE_TOKEN="aib_12345678_secret"' in text


@pytest.mark.parametrize("kind", [Kind.ANTHROPIC, Kind.OPENAI])
def test_every_client_of_the_issue_has_a_recipe(kind):
    own = "Claude Code" if kind == Kind.ANTHROPIC else "Codex"
    others = {"OpenCode", "Cline", "Zed", "VS Code", "Python", "TypeScript", "curl"}
    assert set(texts(kind)) == others | {own}


@pytest.mark.parametrize("kind", list(KINDS))
def test_nothing_is_left_to_fill_in(kind):
    for client, text in texts(kind).items():
        assert "$" not in text, client
        assert "https://ai.example.org/aibridge/main" in text, client
        assert "aib_12345678_secret" in text, client


@pytest.mark.parametrize("kind", [Kind.ANTHROPIC, Kind.OPENAI])
def test_json_settings_are_json(kind):
    for recipe in recipes_for(kind, TARGET):
        for snippet in recipe.snippets:
            if snippet.text.startswith("{"):
                assert json.loads(snippet.text)


@pytest.mark.parametrize("kind", [Kind.ANTHROPIC, Kind.OPENAI])
def test_python_settings_compile(kind):
    compile(texts(kind)["Python"], "recipe", "exec")


def test_callers_of_copilot_need_credentials_of_their_own():
    assert recipes_for(Kind.COPILOT, TARGET) == []


def test_without_a_token_there_is_a_place_for_one():
    recipe = recipes_for(Kind.ANTHROPIC, Target("https://ai.example.org", "main"))[0]
    assert PLACEHOLDER in recipe.snippets[0].text

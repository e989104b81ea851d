"""Ready-made settings that point AI clients at this gateway.

A recipe is text in which ``$root``, ``$base``, ``$token`` and ``$model`` are filled in:
the provider's address without and with the version segment, a gateway token, a model.
Knows what clients want to be told; stores and reads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

from providers.kinds import CHAT, MESSAGES, spec_of

PLACEHOLDER = "<your token>"
MODELS = {MESSAGES: "claude-sonnet-5-5", CHAT: "gpt-5.5"}


@dataclass(frozen=True, slots=True)
class Snippet:
    """One thing to copy: ``where`` it goes, and the text."""

    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one client is set up for one provider."""

    client: str
    snippets: tuple[Snippet, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a client should go; ``url`` is the gateway's own, without a slash."""

    url: str
    provider: str
    token: str = PLACEHOLDER
    model: str = ""


def recipes_for(kind: str, target: Target) -> list[Recipe]:
    """Return the recipes of every client that can use a provider of this kind."""
    spec, routes = spec_of(kind), spec_of(kind).bridged
    if not spec.has_pool and not spec.options:
        # Callers bring credentials of their own: no token alone lets them in.
        return []
    shape = MESSAGES if routes.get("v1/messages") == MESSAGES else CHAT
    versioned = shape == CHAT and "v1/chat/completions" in routes
    root = f"{target.url}/aibridge/{target.provider}"
    values = {
        "root": root,
        "base": f"{root}/v1" if versioned or shape == MESSAGES else root,
        "token": target.token,
        "model": target.model or MODELS[shape],
    }
    return [_filled(recipe, values) for recipe in RECIPES[shape]]


def _filled(recipe: Recipe, values: dict[str, str]) -> Recipe:
    snippets = tuple(
        Snippet(one.where, Template(one.text).substitute(values))
        for one in recipe.snippets
    )
    return Recipe(recipe.client, snippets, recipe.note)


_VSCODE_NOTE = "VS Code 1.122 or newer. Inline suggestions still need Copilot."

RECIPES: dict[str, tuple[Recipe, ...]] = {
    MESSAGES: (
        Recipe(
            "Claude Code",
            (
                Snippet(
                    "Shell",
                    'export ANTHROPIC_BASE_URL="$root"\n'
                    'export ANTHROPIC_AUTH_TOKEN="$token"',
                ),
                Snippet(
                    "or ~/.claude/settings.json",
                    '{\n  "env": {\n    "ANTHROPIC_BASE_URL": "$root",\n'
                    '    "ANTHROPIC_AUTH_TOKEN": "$token"\n  }\n}',
                ),
            ),
            "Unset ANTHROPIC_API_KEY, or Claude Code prefers it to the token.",
        ),
        Recipe(
            "OpenCode",
            (
                Snippet(
                    "opencode.json",
                    '{\n  "provider": {\n    "anthropic": {\n      "options": {\n'
                    '        "baseURL": "$base",\n        "apiKey": "$token"\n'
                    "      }\n    }\n  }\n}",
                ),
            ),
        ),
        Recipe(
            "Cline",
            (
                Snippet("API provider", "Anthropic"),
                Snippet("Use custom base URL", "$root"),
                Snippet("Anthropic API key", "$token"),
            ),
        ),
        Recipe(
            "Zed",
            (
                Snippet(
                    "settings.json",
                    '{\n  "language_models": {\n    "anthropic": {\n'
                    '      "api_url": "$root"\n    }\n  }\n}',
                ),
                Snippet(
                    "Shell, before Zed starts", 'export ANTHROPIC_API_KEY="$token"'
                ),
            ),
        ),
        Recipe(
            "VS Code",
            (
                Snippet("Custom Endpoint of chat language models, messages", "$root"),
                Snippet("API key", "$token"),
            ),
            _VSCODE_NOTE,
        ),
        Recipe(
            "Python",
            (
                Snippet(
                    "anthropic SDK",
                    "from anthropic import Anthropic\n\n"
                    'client = Anthropic(base_url="$root", api_key="$token")\n'
                    "message = client.messages.create(\n"
                    '    model="$model",\n    max_tokens=256,\n'
                    '    messages=[{"role": "user", "content": "Hello"}],\n'
                    ")\nprint(message.content)",
                ),
            ),
        ),
        Recipe(
            "TypeScript",
            (
                Snippet(
                    "@anthropic-ai/sdk",
                    'import Anthropic from "@anthropic-ai/sdk";\n\n'
                    "const client = new Anthropic({\n"
                    '  baseURL: "$root",\n  apiKey: "$token",\n});',
                ),
            ),
        ),
        Recipe(
            "curl",
            (
                Snippet(
                    "Shell",
                    "curl -N '$base/messages' \\\n"
                    "  -H 'Authorization: Bearer $token' \\\n"
                    "  -H 'Content-Type: application/json' \\\n"
                    "  -H 'anthropic-version: 2023-06-01' \\\n"
                    '  -d \'{"model": "$model", "max_tokens": 256, "stream": true, '
                    '"messages": [{"role": "user", "content": "Hello"}]}\'',
                ),
            ),
        ),
    ),
    CHAT: (
        Recipe(
            "Codex",
            (
                Snippet(
                    "~/.codex/config.toml",
                    'model = "$model"\nmodel_provider = "aibridge"\n\n'
                    '[model_providers.aibridge]\nname = "AI Bridge"\n'
                    'base_url = "$base"\nenv_key = "AIBRIDGE_TOKEN"\n'
                    'wire_api = "responses"\nsupports_websockets = false',
                ),
                Snippet("Shell", 'export AIBRIDGE_TOKEN="$token"'),
            ),
        ),
        Recipe(
            "OpenCode",
            (
                Snippet(
                    "opencode.json",
                    '{\n  "provider": {\n    "openai": {\n      "options": {\n'
                    '        "baseURL": "$base",\n        "apiKey": "$token"\n'
                    "      }\n    }\n  }\n}",
                ),
            ),
        ),
        Recipe(
            "Cline",
            (
                Snippet("API provider", "OpenAI Compatible"),
                Snippet("Base URL", "$base"),
                Snippet("API key", "$token"),
                Snippet("Model ID", "$model"),
            ),
        ),
        Recipe(
            "Zed",
            (
                Snippet(
                    "settings.json",
                    '{\n  "language_models": {\n    "openai": {\n'
                    '      "api_url": "$base"\n    }\n  }\n}',
                ),
                Snippet("Shell, before Zed starts", 'export OPENAI_API_KEY="$token"'),
            ),
        ),
        Recipe(
            "VS Code",
            (
                Snippet("Custom Endpoint of chat language models, responses", "$root"),
                Snippet("API key", "$token"),
            ),
            _VSCODE_NOTE,
        ),
        Recipe(
            "Python",
            (
                Snippet(
                    "openai SDK",
                    "from openai import OpenAI\n\n"
                    'client = OpenAI(base_url="$base", api_key="$token")\n'
                    "response = client.responses.create(\n"
                    '    model="$model", input="Hello"\n)\n'
                    "print(response.output_text)",
                ),
            ),
        ),
        Recipe(
            "TypeScript",
            (
                Snippet(
                    "openai SDK",
                    'import OpenAI from "openai";\n\n'
                    "const client = new OpenAI({\n"
                    '  baseURL: "$base",\n  apiKey: "$token",\n});',
                ),
            ),
        ),
        Recipe(
            "curl",
            (
                Snippet(
                    "Shell",
                    "curl -N '$base/chat/completions' \\\n"
                    "  -H 'Authorization: Bearer $token' \\\n"
                    "  -H 'Content-Type: application/json' \\\n"
                    '  -d \'{"model": "$model", "stream": true, '
                    '"messages": [{"role": "user", "content": "Hello"}]}\'',
                ),
            ),
        ),
    ),
}

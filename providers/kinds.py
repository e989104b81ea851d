"""The table of provider kinds: a kind is data, and this is all of it.

Knows URLs, header names and route lists; knows no request, no key and no Django model.
Adding a kind is one ``Kind`` value and one row of ``KINDS``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import models

MESSAGES = "anthropic_messages"
CHAT = "openai_chat"
RESPONSES = "openai_responses"


class Kind(models.TextChoices):
    """Stored on providers and interceptions, so a value is never renamed."""

    ANTHROPIC = "anthropic", "Anthropic"
    OPENAI = "openai", "OpenAI"
    COPILOT = "copilot", "GitHub Copilot"
    BEDROCK = "bedrock", "Amazon Bedrock"
    AZURE = "azure", "Azure OpenAI"
    GOOGLE = "google", "Google Gemini (OpenAI API)"
    OPENROUTER = "openrouter", "OpenRouter"
    OPENAI_COMPAT = "openai-compat", "OpenAI-compatible"


@dataclass(frozen=True, slots=True)
class KindSpec:
    """How a kind is reached.

    ``bridged`` maps a client's route (after the provider's name, no leading slash) to
    the dialect that reads it. ``passthrough`` lists routes that are forwarded
    untouched; one that ends in ``/`` allows its whole subtree. ``route_prefix`` is the
    part of a client's route that the base URL already contains. ``auth_header`` with
    ``auth_scheme`` carries a key of the pool; ``byok_headers`` are looked at, in order,
    for the user's own. ``overloaded_status`` is the status the kind answers with when
    it is overloaded. ``models_path`` answers GET with a valid key only, and costs
    nothing: it is what probes and *Test key* ask for, with ``test_headers``.
    """

    label: str
    default_base_url: str
    bridged: dict[str, str]
    passthrough: tuple[str, ...]
    envelope: str
    auth_header: str
    auth_scheme: str = ""
    route_prefix: str = ""
    byok_headers: tuple[str, ...] = ("authorization",)
    overloaded_status: int = 503
    models_path: str = "/models"
    test_headers: tuple[tuple[str, str], ...] = ()
    has_pool: bool = True
    base_url_help: str = ""
    options: tuple[str, ...] = field(default=())

    def upstream_path(self, route: str) -> str:
        """Return the path to append to the base URL for a client's route."""
        return "/" + route.removeprefix(self.route_prefix)


_OPENAI_BRIDGED = {"v1/chat/completions": CHAT, "v1/responses": RESPONSES}
_OPENAI_PASSTHROUGH = (
    "v1/conversations",
    "v1/conversations/",
    "v1/models",
    "v1/models/",
    "v1/responses/",
)
_ANTHROPIC_PASSTHROUGH = (
    "v1/models",
    "v1/models/",
    "v1/messages/count_tokens",
    "api/event_logging/",
)


def _openai_like(
    label: str,
    default_base_url: str,
    *,
    auth_header: str = "Authorization",
    auth_scheme: str = "Bearer",
    base_url_help: str = "",
    models_path: str = "/models",
) -> KindSpec:
    return KindSpec(
        label=label,
        default_base_url=default_base_url,
        bridged=_OPENAI_BRIDGED,
        passthrough=_OPENAI_PASSTHROUGH,
        envelope=CHAT,
        auth_header=auth_header,
        auth_scheme=auth_scheme,
        route_prefix="v1/",
        models_path=models_path,
        base_url_help=base_url_help,
    )


KINDS: dict[str, KindSpec] = {
    Kind.ANTHROPIC: KindSpec(
        label="Anthropic",
        default_base_url="https://api.anthropic.com",
        bridged={"v1/messages": MESSAGES},
        passthrough=_ANTHROPIC_PASSTHROUGH,
        envelope=MESSAGES,
        auth_header="X-Api-Key",
        byok_headers=("x-api-key", "authorization"),
        overloaded_status=529,
        models_path="/v1/models",
        test_headers=(("anthropic-version", "2023-06-01"),),
    ),
    Kind.OPENAI: _openai_like("OpenAI", "https://api.openai.com/v1"),
    Kind.COPILOT: KindSpec(
        label="GitHub Copilot",
        default_base_url="https://api.individual.githubcopilot.com",
        bridged={
            "chat/completions": CHAT,
            "responses": RESPONSES,
            "v1/messages": MESSAGES,
        },
        passthrough=("models", "models/", "agents/", "mcp/", ".well-known/"),
        envelope=CHAT,
        auth_header="Authorization",
        auth_scheme="Bearer",
        has_pool=False,
        base_url_help="api.individual, api.business or api.enterprise, by plan.",
    ),
    Kind.BEDROCK: KindSpec(
        label="Amazon Bedrock",
        default_base_url="",
        bridged={"v1/messages": MESSAGES},
        passthrough=(),
        envelope=MESSAGES,
        auth_header="",
        byok_headers=(),
        overloaded_status=529,
        has_pool=False,
        base_url_help="Leave empty to follow the region's endpoint.",
        options=("region", "model", "small_fast_model"),
    ),
    Kind.AZURE: _openai_like(
        "Azure OpenAI",
        "",
        auth_header="api-key",
        auth_scheme="",
        base_url_help="https://<resource>.openai.azure.com/openai/v1",
    ),
    Kind.GOOGLE: _openai_like(
        "Google Gemini", "https://generativelanguage.googleapis.com/v1beta/openai"
    ),
    # OpenRouter lists its models to anybody; /key is what needs a valid one.
    Kind.OPENROUTER: _openai_like(
        "OpenRouter", "https://openrouter.ai/api/v1", models_path="/key"
    ),
    Kind.OPENAI_COMPAT: _openai_like(
        "OpenAI-compatible", "", base_url_help="Up to and including /v1."
    ),
}


def spec_of(kind: str) -> KindSpec:
    """Return a kind's row; of a kind that is not supported, one that serves nothing."""
    return KINDS.get(kind) or KindSpec(
        label=kind,
        default_base_url="",
        bridged={},
        passthrough=(),
        envelope=CHAT,
        auth_header="Authorization",
        auth_scheme="Bearer",
        has_pool=False,
    )


def unsupported(kind: str) -> str:
    """Return why providers of a kind cannot be used, "" when they can."""
    return "" if kind in KINDS else f'the kind "{kind}" is not supported'

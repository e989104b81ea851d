"""Turns an Anthropic Messages call into Bedrock's InvokeModel, and signs it.

1. The configured model answers, whatever the client asked for.
2. Order of edits: thinking, beta flags, fields; so effort is read before it goes.
3. What Bedrock would refuse is converted, or else removed.

botocore signs; it is an optional extra and imported when the first call is signed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx

from providers.bedrock import INSTALL_HINT, BedrockConfigError, BedrockSettings
from providers.keypool import Key
from providers.masking import mask
from providers.provider import Provider
from proxy import errors
from proxy.dialects.base import BridgedRequest, Json
from proxy.dialects.jsontext import as_count, as_object, as_text
from proxy.dialects.splice import REMOVED, edit_object
from proxy.headers import Headers

if TYPE_CHECKING:
    from botocore.credentials import Credentials

logger = logging.getLogger(__name__)

VERSION = "bedrock-2023-05-31"
CHAIN_HINT = "<aws chain>"
_DEFAULT_REGION = "us-east-1"
_LEAST_BUDGET = 1024
_EFFORT_RATIOS = {"low": 0.2, "medium": 0.5, "max": 0.95}
_OTHER_EFFORT_RATIO = 0.8

ADAPTIVE_MODELS = ("anthropic.claude-opus-4-6", "anthropic.claude-sonnet-4-6")
"""Model ids that take adaptive thinking; for all others it is converted."""

EFFORT_FLAG = "effort-2025-11-24"
CONTEXT_FLAG = "context-management-2025-06-27"
BETA_FLAGS: dict[str, tuple[str, ...]] = {
    "computer-use-2025-01-24": (),
    "token-efficient-tools-2025-02-19": (),
    "interleaved-thinking-2025-05-14": (),
    "output-128k-2025-02-19": (),
    "dev-full-thinking-2025-05-14": (),
    "context-1m-2025-08-07": (),
    CONTEXT_FLAG: ("anthropic.claude-sonnet-4-5", "anthropic.claude-haiku-4-5"),
    EFFORT_FLAG: ("anthropic.claude-opus-4-5",),
    "tool-search-tool-2025-10-19": (),
    "tool-examples-2025-10-29": (),
}
"""Beta flags that Bedrock knows, each with the models it is limited to (none: all)."""

REMOVED_FIELDS = ("metadata", "service_tier", "container", "inference_geo")
FLAGGED_FIELDS = {"output_config": EFFORT_FLAG, "context_management": CONTEXT_FLAG}
_OWN_HEADERS = {"anthropic-beta", "anthropic-version", "content-type", "accept"}


class MissingMaxTokens(ValueError):
    """Adaptive thinking cannot be converted without ``max_tokens``."""


def settings_of(provider: Provider) -> BedrockSettings:
    """Return the Bedrock settings of a provider."""
    return BedrockSettings.read(
        provider.base_url, provider.options, provider.secret_options
    )


# The body


def convert_thinking(parsed: Json, model: str) -> Json | None:
    """Return what replaces ``thinking``, None when it may stay as it is.

    Raises MissingMaxTokens.
    """
    thinking = as_object(parsed.get("thinking"))
    if thinking.get("type") != "adaptive" or _is_any(model, ADAPTIVE_MODELS):
        return None
    max_tokens = as_count(parsed.get("max_tokens"))
    if not max_tokens:
        raise MissingMaxTokens("max_tokens: field required")
    effort = as_text(as_object(parsed.get("output_config")).get("effort"))
    budget = int(max_tokens * _EFFORT_RATIOS.get(effort, _OTHER_EFFORT_RATIO))
    if budget < _LEAST_BUDGET:
        return {"type": "disabled"}
    return {"type": "enabled", "budget_tokens": budget}


def filter_beta_flags(lines: Iterable[str], model: str) -> list[str]:
    """Return the flags of ``Anthropic-Beta`` header lines that Bedrock takes."""
    flags = [flag.strip() for line in lines for flag in line.split(",")]
    return [flag for flag in dict.fromkeys(flags) if _is_supported(flag, model)]


def _is_supported(flag: str, model: str) -> bool:
    models = BETA_FLAGS.get(flag)
    return models is not None and (not models or _is_any(model, models))


def _is_any(model: str, ids: tuple[str, ...]) -> bool:
    return any(known in model for known in ids)


def augment(parsed: Json, model: str, flags: list[str]) -> tuple[Json, list[str]]:
    """Return the changes of a body's members, and the beta flags that remain.

    ``flags`` are header lines as the client sent them; when thinking cannot be
    converted they stay as they are, and Bedrock will say what it misses.
    """
    changes: Json = {}
    try:
        if (thinking := convert_thinking(parsed, model)) is not None:
            changes["thinking"] = thinking
    except MissingMaxTokens as error:
        logger.warning("bedrock body not converted", extra={"reason": str(error)})
        return changes, [flag.strip() for line in flags for flag in line.split(",")]
    kept = filter_beta_flags(flags, model)
    removed = [name for name, flag in FLAGGED_FIELDS.items() if flag not in kept]
    changes |= {name: REMOVED for name in (*REMOVED_FIELDS, *removed) if name in parsed}
    return changes, kept


def invoke_body(body: bytes, parsed: Json, model: str, flags: list[str]) -> bytes:
    """Return the InvokeModel body: no model, no stream, version and flags inside."""
    own = parsed.get("anthropic_beta")
    own = own if isinstance(own, list) else None
    inside = [flag for flag in own or () if isinstance(flag, str)]
    changes, kept = augment(parsed, model, [*flags, *inside])
    changes |= {name: REMOVED for name in ("model", "stream") if name in parsed}
    if "anthropic_version" not in parsed:
        changes["anthropic_version"] = VERSION
    if kept:
        changes["anthropic_beta"] = kept
    elif "anthropic_beta" in parsed:
        changes["anthropic_beta"] = REMOVED
    return edit_object(body, changes)


# The rest of the request


def map_model(request: BridgedRequest, provider: Provider) -> None:
    """Make the request name the model that will answer it."""
    request.model = settings_of(provider).model_for(request.model)


def invoke_url(settings: BedrockSettings, model: str, *, streaming: bool) -> httpx.URL:
    """Return the URL of the model's operation; the model is one escaped segment."""
    operation = "invoke-with-response-stream" if streaming else "invoke"
    path = f"/model/{quote(model, safe='')}/{operation}"
    return httpx.URL(settings.endpoint + path)


def invoke_headers(client_headers: Headers) -> Headers:
    """Return the headers that may go to AWS: none that only a signer may set."""
    return [
        (name, value)
        for name, value in client_headers
        if name.lower() not in _OWN_HEADERS and not name.lower().startswith("x-amz-")
    ]


def beta_lines(client_headers: Headers) -> list[str]:
    """Return the values of the client's ``Anthropic-Beta`` headers."""
    return [value for name, value in client_headers if name.lower() == "anthropic-beta"]


# Who calls


class SigV4Credential:
    """AWS credentials that sign each request; one attempt."""

    kind = "centralized"
    secret = ""

    def __init__(self, settings: BedrockSettings) -> None:
        self._settings = settings
        static = settings.has_static_keys
        self.hint = mask(settings.access_key) if static else CHAIN_HINT

    def walk(self) -> Iterator[Key | None]:
        yield None

    def headers(
        self, key: Key | None, method: str, url: str, body: bytes
    ) -> list[tuple[str, str]]:
        """Return what authenticates this very request; raises ProviderUnavailable."""
        try:
            credentials = find_credentials(self._settings)
        except BedrockConfigError as error:
            raise errors.ProviderUnavailable(
                f"create anthropic client: {error}"
            ) from error
        region = find_region(self._settings)
        return list(sign(credentials, region, method, url, body).items())


def sign(
    credentials: Credentials, region: str, method: str, url: str, body: bytes
) -> Mapping[str, str]:
    """Return the signed headers of a JSON request to Bedrock."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = AWSRequest(method=method, url=url, data=body, headers=headers)
    SigV4Auth(credentials, "bedrock", region).add_auth(request)
    return dict(request.headers.items())


def find_credentials(settings: BedrockSettings) -> Credentials:
    """Return the static keys, else what AWS's default chain finds.

    Raises BedrockConfigError. The chain may ask the machine's metadata service; what
    it finds is kept and refreshed by botocore.
    """
    try:
        from botocore.credentials import Credentials
    except ImportError as error:
        raise BedrockConfigError(INSTALL_HINT) from error
    if settings.has_static_keys:
        return Credentials(
            settings.access_key,
            settings.access_key_secret,
            settings.session_token or None,
        )
    return _from_chain()


def _from_chain() -> Credentials:
    from botocore.exceptions import BotoCoreError

    try:
        found = aws_session().get_credentials()
        frozen = found and found.get_frozen_credentials()
    except BotoCoreError as error:
        raise BedrockConfigError(
            f"failed to load AWS Bedrock config: {error}"
        ) from error
    if frozen is None:
        raise BedrockConfigError(
            "no AWS credentials found: neither environment, nor shared config, nor role"
        )
    return frozen


@lru_cache(maxsize=1)
def aws_session() -> Any:
    """Return the process's botocore session, made when first asked for."""
    import botocore.session

    return botocore.session.Session()


def find_region(settings: BedrockSettings) -> str:
    """Return the region to sign for: configured, or read from the endpoint's name."""
    if settings.region:
        return settings.region
    labels = (urlsplit(settings.endpoint).hostname or "").split(".")
    if labels[0].startswith("bedrock-runtime") and len(labels) > 2:
        return labels[1]
    return aws_session().get_config_variable("region") or _DEFAULT_REGION

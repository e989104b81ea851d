"""Settings of a Bedrock provider, and what makes them unusable.

Pure but for looking whether botocore is installed; signs and sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

INSTALL_HINT = "install requirements-bedrock.txt to use Amazon Bedrock"


class BedrockConfigError(ValueError):
    """The settings cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class BedrockSettings:
    """Where Bedrock is, who calls it, and which models answer.

    ``base_url`` overrides the region's endpoint. Without ``access_key`` credentials
    come from AWS's default chain.
    """

    region: str = ""
    base_url: str = ""
    model: str = ""
    small_fast_model: str = ""
    access_key: str = ""
    access_key_secret: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    @classmethod
    def read(
        cls, base_url: str, options: Mapping[str, Any], secrets: Mapping[str, Any]
    ) -> BedrockSettings:
        """Return the settings in a provider's columns; "" for what is no text."""
        return cls(
            base_url=base_url,
            region=_text(options, "region"),
            model=_text(options, "model"),
            small_fast_model=_text(options, "small_fast_model"),
            access_key=_text(secrets, "access_key"),
            access_key_secret=_text(secrets, "access_key_secret"),
            session_token=_text(secrets, "session_token"),
        )

    @property
    def endpoint(self) -> str:
        """Return the base URL to call, without a slash at its end."""
        own = self.base_url.rstrip("/")
        return own or f"https://bedrock-runtime.{self.region}.amazonaws.com"

    @property
    def has_static_keys(self) -> bool:
        return bool(self.access_key and self.access_key_secret)

    def model_for(self, asked: str) -> str:
        """Return the model that answers when a client asks for ``asked``."""
        return self.small_fast_model if "haiku" in asked else self.model


def _text(source: Mapping[str, Any], name: str) -> str:
    value = source.get(name)
    return value.strip() if isinstance(value, str) else ""


def validate(settings: BedrockSettings | None) -> None:
    """Raise BedrockConfigError naming the first thing that is missing."""
    if settings is None:
        raise BedrockConfigError("nil config given")
    if not settings.region and not settings.base_url:
        raise BedrockConfigError("region or base url required")
    if not settings.model:
        raise BedrockConfigError("model required")
    if not settings.small_fast_model:
        raise BedrockConfigError("small fast model required")
    if bool(settings.access_key) != bool(settings.access_key_secret):
        raise BedrockConfigError(
            "both access key and access key secret must be provided together"
        )


def problem(settings: BedrockSettings) -> str:
    """Return why a provider with these settings cannot be used, "" when it can."""
    try:
        validate(settings)
    except BedrockConfigError as error:
        return f"create anthropic client: {error}"
    return "" if is_installed() else INSTALL_HINT


def is_installed() -> bool:
    """Say whether the optional library that signs for AWS is there."""
    return find_spec("botocore") is not None

"""Forms of the provider pages: what an administrator types becomes rows.

Secrets go in and never come out: no field is ever filled with one.
"""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from providers import bedrock
from providers.encryption import UndecryptableSecret
from providers.kinds import KINDS, Kind
from providers.models import AiProvider

OPTIONS = ("region", "model", "small_fast_model")
SECRET_OPTIONS = ("access_key", "access_key_secret", "session_token")


def split_keys(text: str) -> list[tuple[str, str]]:
    """Return (secret, label) of each line; words after the secret are its label.

    Raises ValidationError when a secret is there twice.
    """
    found: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        secret, _, label = line.strip().partition(" ")
        if not secret:
            continue
        if any(secret == known for known, _ in found):
            raise ValidationError(f"Line {number} repeats a key of a line above.")
        found.append((secret, label.strip()[:100]))
    return found


class KeysField(forms.CharField):
    """Keys pasted one a line; cleans to a list of (secret, label)."""

    def __init__(self, **kwargs: Any) -> None:
        attrs = {"rows": 3, "autocomplete": "off", "spellcheck": "false"}
        kwargs.setdefault("widget", UnfoldAdminTextareaWidget(attrs=attrs))
        kwargs.setdefault(
            "help_text",
            "One key a line, tried top to bottom. Words after a key are its label.",
        )
        super().__init__(**kwargs)

    def clean(self, value: str | None) -> list[tuple[str, str]]:  # type: ignore[override]
        return split_keys(super().clean(value))


def _secret_field(label: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again. Empty keeps what is stored.",
    )


def _text_field(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text=help_text,
    )


class ProviderForm(forms.ModelForm):
    """A provider's settings, and on adding one also its first keys."""

    keys = KeysField(required=False, label="Keys")
    region = _text_field("AWS region", "For example eu-central-1.")
    model = _text_field("Model", "Model or inference profile that answers.")
    small_fast_model = _text_field(
        "Small fast model", "Answers when a client asks for a Haiku model."
    )
    access_key = _secret_field("Access key ID")
    access_key_secret = _secret_field("Secret access key")
    session_token = _secret_field("Session token")

    class Meta:
        model = AiProvider
        labels = {"base_url": "Base URL"}
        fields = (
            "kind",
            "name",
            "display_name",
            "base_url",
            "enabled",
            "auth_failure_policy",
            "max_cooldown",
            "probe_interval",
            "allow_byok",
            "send_actor_headers",
            "connect_timeout",
            "tls_timeout",
            "total_timeout",
            "idle_timeout",
            "breaker_enabled",
            "breaker_threshold",
            "breaker_interval",
            "breaker_timeout",
            "breaker_max_requests",
            "api_dump",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = (
            self.instance.options if isinstance(self.instance.options, dict) else {}
        )
        for name in OPTIONS:
            self.fields[name].initial = stored.get(name, "")
        if "base_url" in self.fields:
            self.fields["base_url"].required = False
        if (
            self.instance.pk
            and "keys" in self.fields
            and not self.instance._state.adding
        ):
            del self.fields["keys"]

    @property
    def kind(self) -> str:
        """The kind that is being saved; it never changes."""
        return self.cleaned_data.get("kind") or self.instance.kind

    def clean_name(self) -> str:
        """Refuse a taken name; deleted providers do not hold theirs."""
        name = self.cleaned_data["name"]
        if AiProvider.objects.filter(name=name).exclude(pk=self.instance.pk).exists():
            raise ValidationError("A provider with this name exists.")
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        spec = KINDS.get(self.kind)
        if spec is None:
            return cleaned
        if "base_url" in cleaned and not cleaned["base_url"]:
            cleaned["base_url"] = spec.default_base_url
            if not spec.default_base_url and self.kind != Kind.BEDROCK:
                self.add_error("base_url", f"{spec.label} needs a base URL.")
        if cleaned.get("keys") and not spec.has_pool:
            self.add_error("keys", f"{spec.label} takes no keys of its own.")
        if self.kind == Kind.BEDROCK:
            self._clean_bedrock(cleaned)
        return cleaned

    def _clean_bedrock(self, cleaned: dict[str, Any]) -> None:
        settings = bedrock.BedrockSettings.read(
            cleaned.get("base_url") or "", self._options(), self._secret_options()
        )
        try:
            bedrock.validate(settings)
        except bedrock.BedrockConfigError as error:
            self.add_error(None, f"Bedrock: {error}.")

    def _options(self) -> dict[str, Any]:
        stored = (
            self.instance.options if isinstance(self.instance.options, dict) else {}
        )
        typed = {name: self.cleaned_data.get(name, "").strip() for name in OPTIONS}
        return stored | {name: value for name, value in typed.items() if value}

    def _secret_options(self) -> dict[str, Any]:
        typed = {
            name: self.cleaned_data.get(name, "").strip() for name in SECRET_OPTIONS
        }
        return stored_secret_options(self.instance) | {
            name: value for name, value in typed.items() if value
        }

    def save(self, commit: bool = True) -> AiProvider:
        if self.kind == Kind.BEDROCK:
            self.instance.options = self._options()
            secrets = self._secret_options()
            self.instance.secret_options = json.dumps(secrets) if secrets else ""
        return super().save(commit)


def stored_secret_options(provider: AiProvider) -> dict[str, Any]:
    """Return a provider's secret options, {} when there are none or none readable."""
    try:
        options = json.loads(provider.secret_options or "{}")
    except (UndecryptableSecret, ValueError):
        return {}
    return options if isinstance(options, dict) else {}


class AddKeysForm(forms.Form):
    """Several keys pasted at once."""

    keys = KeysField(label="New keys")


class RotateKeyForm(forms.Form):
    """Another secret for a key that keeps its place, label and history."""

    secret = forms.CharField(
        label="New secret",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )

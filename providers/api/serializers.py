"""Providers and keys as the API shows and takes them. Secrets go in, never out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from providers.api.fields import (
    BASE_URL_PATTERN,
    NAME_PATTERN,
    SecretField,
    StrictBooleanField,
    StrictCharField,
    StrictIntegerField,
    StrictNumberField,
    StrictSerializer,
    base_url,
    provider_name,
)
from providers.api.settings import BedrockSettingsSerializer, stored_settings
from providers.health import key_health
from providers.kinds import Kind, spec_of
from providers.models import AiProvider, ApiKey, AuthFailurePolicy

_DAY = 86400.0
KEY_STATES = ("valid", "temporary", "permanent", "off")


class KeyHealthSerializer(serializers.Serializer):
    """Whether a key can be used, until when not, and why."""

    state = serializers.ChoiceField(
        KEY_STATES,
        help_text="In service, resting until a deadline, retired, or switched off.",
    )
    until = serializers.DateTimeField(
        allow_null=True, help_text="When a resting key returns by itself."
    )
    reason = serializers.CharField(
        allow_blank=True, help_text="rate_limited, quota or unauthorized; else empty."
    )
    last_status = serializers.IntegerField(
        allow_null=True, help_text="Upstream's last status that counted against it."
    )
    last_error = serializers.CharField(
        allow_blank=True, help_text="What upstream said then."
    )
    last_error_at = serializers.DateTimeField(allow_null=True, help_text="When.")
    last_used_at = serializers.DateTimeField(
        allow_null=True, help_text="When a request last used it."
    )
    probed_at = serializers.DateTimeField(
        allow_null=True, help_text="When it was last tested."
    )


class KeySerializer(serializers.Serializer):
    """One key of a provider's pool; the secret itself is never shown."""

    id = serializers.UUIDField(help_text="Id of the key.")
    position = serializers.IntegerField(
        min_value=0, help_text="Keys are tried in this order."
    )
    label = serializers.CharField(allow_blank=True, help_text="For people.")
    hint = serializers.CharField(help_text="Masked fragment of the secret.")
    enabled = serializers.BooleanField(help_text="Whether it is part of the pool.")
    health = KeyHealthSerializer(help_text="Whether it can be used.")
    created_at = serializers.DateTimeField(help_text="When it was added.")
    updated_at = serializers.DateTimeField(help_text="When it was last changed.")


class _OptionsSerializer(StrictSerializer):
    """What an administrator may say of a provider beside its name and kind."""

    display_name = StrictCharField(
        max_length=100,
        required=False,
        allow_blank=True,
        help_text="Shown to people; the name when empty.",
    )
    enabled = StrictBooleanField(required=False, help_text="When off, clients get 503.")
    auth_failure_policy = serializers.ChoiceField(
        AuthFailurePolicy.choices,
        required=False,
        help_text="What 401 and 403 do to a key.",
    )
    max_cooldown = StrictIntegerField(
        min_value=1,
        max_value=86400 * 31,
        required=False,
        help_text="Longest rest in seconds that a Retry-After may impose.",
    )
    probe_interval = StrictIntegerField(
        min_value=0,
        max_value=86400 * 31,
        required=False,
        help_text="Seconds between tries to bring a retired key back; 0 never tries.",
    )
    allow_byok = StrictBooleanField(
        required=False, help_text="Whether callers may bring their own key."
    )
    send_actor_headers = StrictBooleanField(
        required=False, help_text="Whether upstream is told who asks."
    )
    api_dump = StrictBooleanField(
        required=False, help_text="Write redacted traffic to files, for debugging."
    )
    connect_timeout = StrictNumberField(
        min_value=0.1, max_value=_DAY, required=False, help_text="Seconds for TCP."
    )
    tls_timeout = StrictNumberField(
        min_value=0.1, max_value=_DAY, required=False, help_text="Seconds for TLS."
    )
    total_timeout = StrictNumberField(
        min_value=0.1,
        max_value=_DAY,
        required=False,
        help_text="Seconds for a whole blocking request.",
    )
    idle_timeout = StrictNumberField(
        min_value=0.1,
        max_value=_DAY,
        required=False,
        help_text="Seconds of silence that end a stream.",
    )
    breaker_enabled = StrictBooleanField(
        required=False, help_text="Stop asking what keeps failing."
    )
    breaker_threshold = StrictIntegerField(
        min_value=1, max_value=100, required=False, help_text="Failures that open it."
    )
    breaker_interval = StrictNumberField(
        min_value=0,
        max_value=_DAY,
        required=False,
        help_text="Seconds after which failures are forgotten.",
    )
    breaker_timeout = StrictNumberField(
        min_value=0.001,
        max_value=_DAY,
        required=False,
        help_text="Seconds it stays open.",
    )
    breaker_max_requests = StrictIntegerField(
        min_value=1, max_value=100, required=False, help_text="Tries when half-open."
    )
    settings = BedrockSettingsSerializer(
        required=False, allow_null=True, help_text="Settings of the kind (Bedrock)."
    )


class ProviderCreateSerializer(_OptionsSerializer):
    """A new provider, with its first keys."""

    kind = serializers.ChoiceField(
        Kind.choices, help_text="Which API it speaks and how it authenticates."
    )
    name = StrictCharField(
        max_length=100,
        trim_whitespace=False,
        validators=[provider_name],
        pattern=NAME_PATTERN,
        help_text="Lower-case letters, digits and hyphens; part of clients' URLs.",
    )
    base_url = StrictCharField(
        max_length=500,
        required=False,
        allow_blank=True,
        validators=[base_url],
        pattern=BASE_URL_PATTERN,
        help_text="Where requests go; only Bedrock may leave it out.",
    )
    api_keys = serializers.ListField(
        child=SecretField(),
        required=False,
        max_length=1000,
        help_text="Keys in the order in which they are tried.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check what depends on the kind."""
        if not attrs.get("base_url") and attrs["kind"] != Kind.BEDROCK:
            raise serializers.ValidationError({"base_url": ["is required"]})
        check_has_pool(attrs["kind"], attrs.get("api_keys"))
        check_unique(attrs.get("api_keys") or [])
        return attrs


class KeyChangeSerializer(StrictSerializer):
    """A key to keep (`id`) or a key to add (`api_key`)."""

    id = serializers.UUIDField(required=False, help_text="A key to keep.")
    api_key = SecretField(required=False, help_text="A key to add.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for exactly one of the two."""
        if len(attrs) != 1:
            raise serializers.ValidationError("give either id or api_key")
        return attrs


class ProviderPatchSerializer(_OptionsSerializer):
    """Changes of a provider; what is left out stays."""

    refusals = {"name": "cannot be changed", "kind": "cannot be changed"}

    base_url = StrictCharField(
        max_length=500,
        required=False,
        allow_blank=True,
        validators=[base_url],
        pattern=BASE_URL_PATTERN,
        help_text="Where requests go.",
    )
    api_keys = KeyChangeSerializer(
        many=True,
        required=False,
        max_length=1000,
        help_text="All keys as they shall be, in order; a key left out is deleted.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check what depends on the provider that is changed."""
        provider: AiProvider = self.context["provider"]
        if not attrs.get("base_url", "-") and provider.kind != Kind.BEDROCK:
            raise serializers.ValidationError({"base_url": ["must not be blank"]})
        changes = attrs.get("api_keys")
        if changes is not None:
            check_has_pool(provider.kind, changes)
            check_unique(
                [change["api_key"] for change in changes if "api_key" in change]
            )
            _check_ids(provider, [change["id"] for change in changes if "id" in change])
        return attrs


class ProviderSerializer(serializers.Serializer):
    """A provider with its keys."""

    id = serializers.UUIDField(help_text="Id of the provider.")
    kind = serializers.ChoiceField(Kind.choices, help_text="Which API it speaks.")
    name = serializers.CharField(help_text="Its segment in the data plane's URLs.")
    display_name = serializers.CharField(help_text="Shown to people.")
    base_url = serializers.CharField(allow_blank=True, help_text="Where requests go.")
    enabled = serializers.BooleanField(help_text="Whether it serves requests.")
    auth_failure_policy = serializers.ChoiceField(
        AuthFailurePolicy.choices, help_text="What 401 and 403 do to a key."
    )
    max_cooldown = serializers.IntegerField(help_text="Longest rest in seconds.")
    probe_interval = serializers.IntegerField(help_text="Seconds between probes.")
    allow_byok = serializers.BooleanField(help_text="Whether own keys are allowed.")
    send_actor_headers = serializers.BooleanField(
        help_text="Whether upstream is told who asks."
    )
    api_dump = serializers.BooleanField(help_text="Whether traffic is dumped to files.")
    connect_timeout = serializers.FloatField(help_text="Seconds for TCP.")
    tls_timeout = serializers.FloatField(help_text="Seconds for TLS.")
    total_timeout = serializers.FloatField(help_text="Seconds for a blocking request.")
    idle_timeout = serializers.FloatField(help_text="Seconds of silence allowed.")
    breaker_enabled = serializers.BooleanField(help_text="Whether the breaker is on.")
    breaker_threshold = serializers.IntegerField(help_text="Failures that open it.")
    breaker_interval = serializers.FloatField(help_text="Seconds failures count.")
    breaker_timeout = serializers.FloatField(help_text="Seconds it stays open.")
    breaker_max_requests = serializers.IntegerField(help_text="Tries when half-open.")
    settings = serializers.DictField(
        allow_null=True, help_text="Settings of the kind, without secrets."
    )
    api_keys = KeySerializer(many=True, help_text="Its keys, in order.")
    created_at = serializers.DateTimeField(help_text="When it was added.")
    updated_at = serializers.DateTimeField(help_text="When it was last changed.")
    deleted_at = serializers.DateTimeField(
        allow_null=True, help_text="When it was deleted, null while it is not."
    )


COLUMNS = (
    "kind", "name", "base_url", "enabled", "auth_failure_policy", "max_cooldown",
    "probe_interval", "allow_byok", "send_actor_headers", "api_dump",
    "connect_timeout", "tls_timeout", "total_timeout", "idle_timeout",
    "breaker_enabled", "breaker_threshold", "breaker_interval", "breaker_timeout",
    "breaker_max_requests", "created_at", "updated_at", "deleted_at",
)  # fmt: skip


def provider_payload(provider: AiProvider, now: Any) -> dict[str, Any]:
    """Return a provider as JSON; its keys should be prefetched without secrets."""
    return {
        "id": provider.pk,
        **{name: getattr(provider, name) for name in COLUMNS},
        "display_name": provider.display_name or provider.name,
        "settings": stored_settings(provider),
        "api_keys": [key_payload(key, now) for key in provider.keys.all()],
    }


def key_payload(key: ApiKey, now: Any) -> dict[str, Any]:
    """Return a key as JSON, without its secret."""
    health = key_health(key, now)
    out = health.state in {"temporary", "permanent"}
    told = ("last_status", "last_error", "last_error_at", "last_used_at", "probed_at")
    return {
        "id": key.pk,
        "position": key.position,
        "label": key.label,
        "hint": key.hint,
        "enabled": key.enabled,
        "health": {
            "state": str(health.state),
            "until": health.until,
            "reason": key.reason if out else "",
            **{name: getattr(key, name) for name in told},
        },
        "created_at": key.created_at,
        "updated_at": key.updated_at,
    }


def check_has_pool(kind: str, keys: Any) -> None:
    """Raise ValidationError when a kind without a pool is given keys."""
    if keys and not spec_of(kind).has_pool:
        raise serializers.ValidationError(
            {"api_keys": [f"a provider of kind {kind} takes no keys of its own"]}
        )


def check_unique(secrets: list[str]) -> None:
    """Raise ValidationError when a secret is given twice."""
    if len(set(secrets)) < len(secrets):
        raise serializers.ValidationError({"api_keys": ["contains a key twice"]})


def _check_ids(provider: AiProvider, ids: list[Any]) -> None:
    known = set(provider.keys.values_list("pk", flat=True))
    problem = ""
    if len(set(ids)) < len(ids):
        problem = "contains an id twice"
    elif set(ids) - known:
        problem = "api_keys references an unknown id for this provider"
    if problem:
        raise serializers.ValidationError({"api_keys": [problem]})


class KeyCreateSerializer(StrictSerializer):
    """A key to append to the pool."""

    api_key = SecretField(help_text="The secret; it is never shown again.")
    label = StrictCharField(
        max_length=100, required=False, allow_blank=True, help_text="For people."
    )


class KeyPatchSerializer(StrictSerializer):
    """Changes of a key; what is left out stays."""

    label = StrictCharField(
        max_length=100, required=False, allow_blank=True, help_text="For people."
    )
    enabled = StrictBooleanField(
        required=False, help_text="Whether it is part of the pool."
    )


class KeyRotateSerializer(StrictSerializer):
    """Another secret for a key that keeps its place, label and history."""

    api_key = SecretField(help_text="The new secret; it is never shown again.")


class KeyOrderSerializer(StrictSerializer):
    """The keys in the order in which they shall be tried."""

    ids = serializers.ListField(
        child=serializers.UUIDField(),
        max_length=1000,
        help_text="Ids of keys of this provider; keys left out come after them.",
    )


class KeyTestSerializer(serializers.Serializer):
    """What upstream said to a key."""

    ok = serializers.BooleanField(help_text="Whether upstream accepted the key.")
    status = serializers.IntegerField(
        allow_null=True, help_text="Upstream's status, null when it did not answer."
    )
    message = serializers.CharField(help_text="The answer, for people.")
    ms = serializers.IntegerField(min_value=0, help_text="Milliseconds it took.")
    key = KeySerializer(help_text="The key as it is now.")

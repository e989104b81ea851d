"""Who the gateway can talk to: providers, their keys, and what changed when.

These tables know nothing of requests; ``keypool`` decides with them and ``keystate``
carries a key's health between processes.
"""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from providers.encryption import EncryptedTextField
from providers.ids import new_id
from providers.kinds import Kind
from providers.validators import validate_base_url, validate_provider_name


class AuthFailurePolicy(models.TextChoices):
    """What a 401 or 403 from upstream does to the key that met it."""

    RETIRE = "retire", "Retire the key (401 and 403)"
    COOLDOWN = "cooldown", "Rest the key for 60 s (401), relay 403"


class LiveProviderManager(models.Manager["AiProvider"]):
    """Providers that are not deleted."""

    def get_queryset(self) -> models.QuerySet[AiProvider]:
        return super().get_queryset().filter(deleted_at=None)


class AiProvider(models.Model):
    """A configured upstream; ``name`` is its segment in the data plane's URLs."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(
        max_length=100,
        validators=[validate_provider_name],
        help_text="Lower-case letters, digits and hyphens. Part of every client's "
        "URL, so it cannot change later.",
    )
    kind = models.CharField(
        max_length=20,
        choices=Kind,
        help_text="Which API the provider speaks and how it authenticates.",
    )
    display_name = models.CharField(
        max_length=100, blank=True, help_text="Shown to people; defaults to the name."
    )
    base_url = models.CharField(
        max_length=500,
        validators=[validate_base_url],
        help_text="Where requests go. OpenAI kinds include the version segment "
        "(https://api.openai.com/v1), Anthropic kinds do not.",
    )
    enabled = models.BooleanField(
        default=True, help_text="When off, clients get 503 and keep their history."
    )
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    auth_failure_policy = models.CharField(
        max_length=10,
        choices=AuthFailurePolicy,
        default=AuthFailurePolicy.RETIRE,
        help_text="What 401 and 403 do to a key. A retired key is probed and returns "
        "by itself once upstream accepts it again.",
    )
    max_cooldown = models.PositiveIntegerField(
        default=3600,
        validators=[MinValueValidator(1), MaxValueValidator(86400 * 31)],
        help_text="Longest rest in seconds that a Retry-After may impose on a key.",
    )
    allow_byok = models.BooleanField(
        default=True,
        verbose_name="allow BYOK",
        help_text="Whether callers may bring their own provider key (403 when off).",
    )
    send_actor_headers = models.BooleanField(
        default=False,
        help_text="Send X-AI-Bridge-Actor-ID and -Metadata-Username to upstream.",
    )
    api_dump = models.BooleanField(
        default=False,
        verbose_name="API dump",
        help_text="Write redacted request and response files for debugging. Bodies "
        "are not redacted; switch it off afterwards.",
    )
    connect_timeout = models.FloatField(
        default=10, validators=[MinValueValidator(0.1)], help_text="Seconds for TCP."
    )
    tls_timeout = models.FloatField(
        default=10, validators=[MinValueValidator(0.1)], help_text="Seconds for TLS."
    )
    total_timeout = models.FloatField(
        default=600,
        validators=[MinValueValidator(0.1)],
        help_text="Seconds for a whole blocking request.",
    )
    idle_timeout = models.FloatField(
        default=300,
        validators=[MinValueValidator(0.1)],
        help_text="Seconds of silence after which a stream is given up.",
    )
    probe_interval = models.PositiveIntegerField(
        default=300,
        help_text="Seconds between tries to bring a retired key back; 0 never tries.",
    )
    breaker_enabled = models.BooleanField(
        default=False,
        help_text="Stop asking an endpoint and model that keep failing.",
    )
    breaker_threshold = models.PositiveSmallIntegerField(
        default=5, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    breaker_interval = models.FloatField(default=10, validators=[MinValueValidator(0)])
    breaker_timeout = models.FloatField(
        default=30, validators=[MinValueValidator(0.001)]
    )
    breaker_max_requests = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    options = models.JSONField(
        default=dict,
        blank=True,
        help_text="Settings of the kind, for example Bedrock's region and models.",
    )
    secret_options = EncryptedTextField(
        blank=True,
        editable=False,
        help_text="Encrypted JSON: secrets of the kind, for example AWS keys.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = LiveProviderManager()
    all_objects: models.Manager[AiProvider] = models.Manager()

    class Meta:
        verbose_name = "provider"
        ordering = ("name",)
        default_manager_name = "all_objects"
        base_manager_name = "all_objects"
        indexes = [
            models.Index(
                "enabled", name="provider_enabled", condition=Q(deleted_at=None)
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=("name",),
                condition=Q(deleted_at=None),
                name="provider_name_unique",
                violation_error_message="A provider with this name exists.",
            )
        ]

    def __str__(self) -> str:
        return self.display_name or self.name


class ApiKey(models.Model):
    """One key of a provider's pool, with the health that every worker shares.

    State: permanent when ``retired_at`` is set; else temporary until
    ``cooldown_until``; else valid.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    provider = models.ForeignKey(AiProvider, models.CASCADE, related_name="keys")
    position = models.PositiveIntegerField(
        default=0, help_text="Keys are tried in this order."
    )
    label = models.CharField(
        max_length=100, blank=True, help_text="For people, for example the account."
    )
    secret = EncryptedTextField(editable=False)
    hint = models.CharField(max_length=15, editable=False)
    fingerprint = models.CharField(
        max_length=64,
        editable=False,
        help_text="Keyed hash of the secret; finds duplicates without decrypting.",
    )
    enabled = models.BooleanField(default=True)
    cooldown_until = models.DateTimeField(null=True, blank=True, editable=False)
    retired_at = models.DateTimeField(null=True, blank=True, editable=False)
    reason = models.CharField(max_length=20, blank=True, editable=False)
    last_status = models.PositiveSmallIntegerField(
        null=True, blank=True, editable=False
    )
    last_error = models.CharField(max_length=255, blank=True, editable=False)
    last_error_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    probed_at = models.DateTimeField(null=True, blank=True, editable=False)
    returned_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When the key was last put back into service; marks made before "
        "that do not count.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        ordering = ("position", "id")
        constraints = [
            models.UniqueConstraint(
                fields=("provider", "fingerprint"),
                name="apikey_unique_in_provider",
                violation_error_message="This provider already has this key.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.label} ({self.hint})" if self.label else self.hint


class KeyEventKind(models.TextChoices):
    """What happened to a key's health."""

    COOLED = "cooled", "Put aside for a while"
    RETIRED = "retired", "Retired"
    RETURNED = "returned", "Returned to service"
    PROBE_FAILED = "probe_failed", "Probe failed"


class KeyEvent(models.Model):
    """A transition of a key's health: what, why, and who or what caused it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="events")
    kind = models.CharField(max_length=15, choices=KeyEventKind)
    reason = models.CharField(max_length=20, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    actor = models.CharField(
        max_length=150, help_text="A user's name, probe, secret change or traffic."
    )
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index("key", F("id").desc(), name="keyevent_key")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.reason})"


class AuditEvent(models.Model):
    """Who changed a provider, key, token or user, when, and how; secrets masked."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    at = models.DateTimeField(db_default=Now())
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    actor_name = models.CharField(max_length=150)
    action = models.CharField(max_length=30)
    target_type = models.CharField(max_length=30)
    target_id = models.CharField(max_length=64)
    target_name = models.CharField(max_length=200)
    changes = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(
                "target_type", "target_id", F("id").desc(), name="auditevent_target"
            )
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.target_type} {self.target_name}"


class Revision(models.Model):
    """A counter for each topic that processes must hear of (see ``changes``).

    Database triggers count on SQLite, where processes poll it; PostgreSQL notifies.
    """

    topic = models.CharField(max_length=30, primary_key=True)
    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.topic} {self.value}"


class Lease(models.Model):
    """Held by the one process that does a periodic job until it expires."""

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.CharField(max_length=100, blank=True)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} by {self.holder}"

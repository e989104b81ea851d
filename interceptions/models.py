"""What happened: interceptions, what belongs to each, and the session roll-up.

Rows are written by ``interceptions.recorder`` only and never edited afterwards.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from interceptions.choices import (
    AttemptOutcome,
    CredentialKind,
    ErrorType,
    Outcome,
    ThoughtSource,
    ToolKind,
)
from interceptions.querysets import InterceptionQuerySet, SessionQuerySet
from providers.ids import new_id


class Interception(models.Model):
    """One bridged client request, from its first byte to its last."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Indexes below begin with these columns, so they need none of their own.
    initiator = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="interceptions",
        db_index=False,
    )
    token = models.ForeignKey(
        "proxy.GatewayToken",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The gateway token the client showed.",
    )
    provider = models.ForeignKey(
        "providers.AiProvider",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="interceptions",
        db_index=False,
    )
    # Snapshots outlive the provider row, so that old interceptions can be found.
    provider_name = models.CharField(max_length=100, blank=True)
    provider_kind = models.CharField(max_length=20)
    dialect = models.CharField(max_length=30)
    route = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=200, blank=True)
    streaming = models.BooleanField(default=False)
    client = models.CharField(max_length=64, default="Unknown")
    user_agent = models.CharField(max_length=512, blank=True)
    client_session_id = models.CharField(max_length=256, null=True, blank=True)  # noqa: DJ001
    session_id = models.CharField(
        max_length=256,
        help_text="The client's session id, else the thread's id, else the own id.",
    )
    thread_id = models.UUIDField(
        help_text="Id of the thread's root; equals the own id for a root. It outlives "
        "the root row, so that retention does not tear a thread apart."
    )
    thread_parent = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="thread_children"
    )
    correlating_tool_call_id = models.CharField(  # noqa: DJ001
        max_length=256, null=True, blank=True
    )
    credential_kind = models.CharField(
        max_length=15, choices=CredentialKind, default=CredentialKind.CENTRALIZED
    )
    credential_hint = models.CharField(max_length=15, blank=True)
    started_at = models.DateTimeField()
    first_byte_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    cancelled = models.BooleanField(
        default=False, help_text="The client left before the answer's end."
    )
    error_type = models.CharField(  # noqa: DJ001
        max_length=20, choices=ErrorType, null=True, blank=True
    )
    error_message = models.CharField(max_length=1024, null=True, blank=True)  # noqa: DJ001
    outcome = models.GeneratedField(
        expression=Case(
            When(ended_at=None, then=Value(Outcome.IN_PROGRESS.value)),
            When(error_type__isnull=False, then=Value(Outcome.FAILED.value)),
            When(cancelled=True, then=Value(Outcome.CANCELLED.value)),
            default=Value(Outcome.COMPLETED.value),
        ),
        output_field=models.CharField(max_length=15, choices=Outcome),
        db_persist=True,
    )
    status_code = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="HTTP status the client received."
    )
    response_id = models.CharField(
        max_length=256, blank=True, help_text="Upstream's id of its first answer."
    )
    stop_reason = models.CharField(max_length=64, blank=True)
    turns = models.PositiveIntegerField(default=0)
    # Sums over the children, kept here so that lists need no join.
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_input_tokens = models.BigIntegerField(default=0)
    cache_write_input_tokens = models.BigIntegerField(default=0)
    tool_calls = models.PositiveIntegerField(default=0)
    worker = models.UUIDField(
        null=True, blank=True, help_text="The worker that serves or served it."
    )
    metadata = models.JSONField(default=dict, blank=True)

    # What belongs to it, where whoever asked for the row asked for this, too.
    own_prompts: list[UserPrompt]
    own_token_usages: list[TokenUsage]
    own_tool_usages: list[ToolUsage]
    own_thoughts: list[ModelThought]
    own_attempts: list[Attempt]

    objects = InterceptionQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        # Ids are UUIDv7: their order is the order of starting. A list of any filter
        # walks (filter, id) backwards, and a date range is a range of ids.
        indexes = [
            models.Index("started_at", name="interception_started"),
            models.Index("initiator", "id", name="interception_initiator"),
            models.Index("provider", "id", name="interception_provider"),
            models.Index("provider_name", "id", name="interception_provider_name"),
            models.Index("provider_kind", "id", name="interception_kind"),
            models.Index("model", "id", name="interception_model"),
            models.Index("client", "id", name="interception_client"),
            models.Index("outcome", "id", name="interception_outcome"),
            models.Index(
                "initiator",
                "outcome",
                "id",
                name="interception_trouble",
                condition=Q(outcome__in=[Outcome.FAILED, Outcome.CANCELLED]),
            ),
            models.Index("credential_kind", "id", name="interception_credential"),
            models.Index(
                "error_type",
                "id",
                name="interception_error",
                condition=Q(error_type__isnull=False),
            ),
            models.Index(
                "session_id",
                "id",
                "initiator",
                "thread_id",
                name="interception_session",
            ),
            models.Index("thread_id", "id", name="interception_thread"),
            models.Index(
                "worker", name="interception_open", condition=Q(ended_at__isnull=True)
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(error_type__isnull=True, error_message__isnull=True)
                | Q(error_type__isnull=False, error_message__isnull=False),
                name="interception_error_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model or 'unknown model'} via {self.provider_name} ({self.id})"

    @property
    def is_thread_root(self) -> bool:
        """Whether this interception began its thread."""
        return self.thread_id == self.id


class Attempt(models.Model):
    """One key tried for one turn of an interception."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    interception = models.ForeignKey(
        Interception, models.CASCADE, related_name="attempts"
    )
    turn = models.PositiveIntegerField(default=0)
    position = models.PositiveIntegerField(help_text="Order within the interception.")
    key = models.ForeignKey(
        "providers.ApiKey",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="attempts",
        db_index=False,
    )
    key_hint = models.CharField(max_length=15, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    outcome = models.CharField(max_length=15, choices=AttemptOutcome)
    retry_after = models.FloatField(
        null=True, blank=True, help_text="Seconds upstream asked to wait."
    )
    cooldown = models.FloatField(
        null=True, blank=True, help_text="Seconds the key was put aside for."
    )
    upstream_request_id = models.CharField(max_length=128, blank=True)
    detail = models.CharField(max_length=255, blank=True)
    started_at = models.DateTimeField()
    headers_ms = models.PositiveIntegerField(
        null=True, blank=True, help_text="Milliseconds until upstream's headers came."
    )

    class Meta:
        ordering = ("position",)
        indexes = [
            models.Index("key", F("started_at").desc(), name="attempt_key"),
            models.Index(F("started_at").desc(), name="attempt_started"),
        ]

    def __str__(self) -> str:
        return f"{self.key_hint or 'no key'}: {self.status or self.outcome}"


class TokenUsage(models.Model):
    """Tokens of one upstream answer."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    interception = models.ForeignKey(
        Interception, models.CASCADE, related_name="token_usages"
    )
    turn = models.PositiveIntegerField(default=0)
    provider_response_id = models.CharField(max_length=256, blank=True)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_input_tokens = models.BigIntegerField(default=0)
    cache_write_input_tokens = models.BigIntegerField(default=0)
    extra = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("turn", "id")
        indexes = [models.Index("provider_response_id", name="tokenusage_response")]

    def __str__(self) -> str:
        return f"{self.input_tokens} in, {self.output_tokens} out"


class UserPrompt(models.Model):
    """What the person asked; at most one for each interception."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    interception = models.ForeignKey(
        Interception, models.CASCADE, related_name="prompts"
    )
    prompt = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.prompt[:80]


class ToolUsage(models.Model):
    """A tool the model asked for, and what became of it when the gateway ran it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    interception = models.ForeignKey(
        Interception, models.CASCADE, related_name="tool_usages"
    )
    turn = models.PositiveIntegerField(default=0)
    provider_response_id = models.CharField(max_length=256, blank=True)
    tool_call_id = models.CharField(max_length=256, blank=True)
    item_id = models.CharField(max_length=256, blank=True)
    kind = models.CharField(max_length=15, choices=ToolKind, default=ToolKind.FUNCTION)
    tool = models.CharField(max_length=256)
    input = models.TextField(blank=True, help_text="Arguments as JSON text.")
    server_name = models.CharField(max_length=100, blank=True)
    server_url = models.CharField(max_length=500, blank=True)
    injected = models.BooleanField(default=False)
    invocation_error = models.TextField(blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("turn", "id")
        indexes = [
            models.Index(
                "tool_call_id", name="toolusage_call", condition=~Q(tool_call_id="")
            ),
            models.Index("tool", F("created_at").desc(), name="toolusage_tool"),
        ]

    def __str__(self) -> str:
        return self.tool


class ModelThought(models.Model):
    """Text the model thought on its way to the answer."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    interception = models.ForeignKey(
        Interception, models.CASCADE, related_name="thoughts"
    )
    turn = models.PositiveIntegerField(default=0)
    source = models.CharField(max_length=20, choices=ThoughtSource)
    content = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("turn", "id")

    def __str__(self) -> str:
        return self.content[:80]


class Session(models.Model):
    """Roll-up of an initiator's interceptions that share a session id.

    The recorder's writer keeps it up to date in the transaction that stores the
    interception, so that listing sessions never groups over history.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    initiator = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="ai_sessions",
        db_index=False,
    )
    session_id = models.CharField(max_length=256)
    client = models.CharField(max_length=64, default="Unknown")
    user_agent = models.CharField(max_length=512, blank=True)
    provider_ids = models.JSONField(
        default=list, db_default=[], help_text="Ids seen, sorted."
    )
    provider_names = models.JSONField(default=list, help_text="Names seen, sorted.")
    provider_kinds = models.JSONField(
        default=list, db_default=[], help_text="Kinds seen, sorted."
    )
    model_names = models.JSONField(default=list, help_text="Names seen, sorted.")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    last_active_at = models.DateTimeField()
    last_prompt = models.CharField(max_length=500, blank=True)
    threads = models.PositiveIntegerField(default=0)
    interceptions = models.PositiveIntegerField(default=0)
    tool_calls = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_input_tokens = models.BigIntegerField(default=0)
    cache_write_input_tokens = models.BigIntegerField(default=0)

    objects = SessionQuerySet.as_manager()

    class Meta:
        ordering = ("-last_active_at", "-id")
        indexes = [
            # Holds what lists are filtered by, so that passing over rows reads none.
            models.Index(
                fields=["-last_active_at", "-id"],
                include=["started_at", "client", "failures"],
                name="session_active",
            ),
            models.Index(
                "initiator",
                F("last_active_at").desc(),
                F("id").desc(),
                name="session_initiator",
            ),
            models.Index(
                fields=["client", "-last_active_at", "-id"], name="session_client"
            ),
            models.Index("session_id", name="session_session_id"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=("initiator", "session_id"), name="session_initiator_unique"
            )
        ]

    def __str__(self) -> str:
        return self.session_id


class Facet(models.Model):
    """A value seen in a column, kept so that filter options need no scan.

    The writer adds a row the first time it sees a model, client or provider name.
    """

    kind = models.CharField(max_length=20)
    value = models.CharField(max_length=200)
    first_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("kind", "value"), name="facet_unique")
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.value}"


class Worker(models.Model):
    """A process that records; its heartbeat tells the sweeper whether it lives."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    node = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    journal_records = models.PositiveIntegerField(
        default=0, help_text="Records waiting in this worker's local journal."
    )

    class Meta:
        indexes = [models.Index("beat_at", name="worker_beat")]

    def __str__(self) -> str:
        return f"{self.node}:{self.pid}"

"""The closed lists of what a record may say; values are stored, so never renamed."""

from __future__ import annotations

from django.db import models


class ErrorType(models.TextChoices):
    """Why an interception ended badly. NULL in the database means it did not."""

    BAD_REQUEST = "bad_request", "Bad request"
    UNAUTHORIZED = "unauthorized", "Unauthorized"
    RATE_LIMITED = "rate_limited", "Rate limited"
    OVERLOADED = "overloaded", "Overloaded"
    TIMEOUT = "timeout", "Timeout"
    SERVER_ERROR = "server_error", "Server error"
    UNKNOWN = "unknown", "Unknown"


class Outcome(models.TextChoices):
    """How an interception stands; derived from its other columns."""

    IN_PROGRESS = "in_progress", "In progress"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class CredentialKind(models.TextChoices):
    """Whose key authenticated the call."""

    CENTRALIZED = "centralized", "Centralized"
    BYOK = "byok", "Bring your own key"


class ThoughtSource(models.TextChoices):
    """Which part of the answer a model thought came from."""

    THINKING = "thinking", "Thinking"
    REASONING_SUMMARY = "reasoning_summary", "Reasoning summary"
    COMMENTARY = "commentary", "Commentary"


class ToolKind(models.TextChoices):
    """Who runs a tool: the client (function, custom), upstream, or the gateway."""

    FUNCTION = "function", "Function"
    CUSTOM = "custom", "Custom"
    SERVER = "server", "Server"


class AttemptOutcome(models.TextChoices):
    """What one key's try came to."""

    ACCEPTED = "accepted", "Accepted"
    RATE_LIMITED = "rate_limited", "Rate limited"
    QUOTA = "quota", "Out of quota"
    UNAUTHORIZED = "unauthorized", "Unauthorized"
    FORBIDDEN = "forbidden", "Forbidden"
    OVERLOADED = "overloaded", "Overloaded"
    REJECTED = "rejected", "Rejected"
    SERVER_ERROR = "server_error", "Server error"
    TIMEOUT = "timeout", "Timeout"
    UNREACHABLE = "unreachable", "Unreachable"
    CANCELLED = "cancelled", "Cancelled"

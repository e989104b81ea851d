"""Shapes of what the API tells of interceptions and sessions.

They describe; ``payloads`` and ``threadpayloads`` make the values, so that REST,
exports and commands say the same.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from interceptions.api.payloads import interception_payload
from interceptions.choices import (
    AttemptOutcome,
    CredentialKind,
    ErrorType,
    Outcome,
    ThoughtSource,
    ToolKind,
)

__all__ = ["interception_payload"]


def _text(help_text: str, **options: Any) -> serializers.CharField:
    return serializers.CharField(help_text=help_text, **options)


def _count(help_text: str, **options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=0, help_text=help_text, **options)


def _moment(help_text: str, **options: Any) -> serializers.DateTimeField:
    return serializers.DateTimeField(help_text=help_text, **options)


def _id(help_text: str, **options: Any) -> serializers.UUIDField:
    return serializers.UUIDField(help_text=help_text, **options)


def _choice(choices: Any, help_text: str, **options: Any) -> serializers.ChoiceField:
    return serializers.ChoiceField(choices.choices, help_text=help_text, **options)


class InitiatorSerializer(serializers.Serializer):
    """The person on whose behalf a client called."""

    id = serializers.IntegerField(help_text="The user's id.")
    username = _text("The user's name.")
    name = _text("The full name, else the user's name.")


class TokenCountsSerializer(serializers.Serializer):
    """Sums of tokens."""

    input_tokens = _count("Tokens read, without cached ones.")
    output_tokens = _count("Tokens written.")
    cache_read_input_tokens = _count("Tokens read from the provider's cache.")
    cache_write_input_tokens = _count("Tokens written to the provider's cache.")


class TokenSummarySerializer(TokenCountsSerializer):
    """Sums of tokens and of the provider's further counts."""

    metadata = serializers.DictField(
        child=serializers.FloatField(),
        help_text="Further counts, summed, under their names joined by dots.",
    )


class PromptSerializer(serializers.Serializer):
    """What the person asked."""

    id = _id("Id of the row.")
    prompt = _text("The text.", allow_blank=True)
    created_at = _moment("When it was recorded.")


class TokenUsageSerializer(TokenCountsSerializer):
    """Tokens of one upstream answer."""

    id = _id("Id of the row.")
    turn = _count("Which upstream answer of the interception, from 0.")
    provider_response_id = _text("Upstream's id of the answer.", allow_blank=True)
    extra = serializers.DictField(help_text="Further counts, as upstream named them.")
    metadata = serializers.DictField(help_text="Further facts of the answer.")
    created_at = _moment("When it was recorded.")


class ToolUsageSerializer(serializers.Serializer):
    """A tool the model called."""

    id = _id("Id of the row.")
    turn = _count("Which upstream answer of the interception, from 0.")
    provider_response_id = _text("Upstream's id of the answer.", allow_blank=True)
    tool_call_id = _text("Upstream's id of the call.", allow_blank=True)
    item_id = _text("Upstream's id of the output item.", allow_blank=True)
    kind = _choice(ToolKind, "Who runs it: client (function, custom) or server.")
    tool = _text("The tool's name.")
    input = _text("Its arguments as JSON text.", allow_blank=True)
    server_name = _text("The MCP server, for an injected tool.", allow_blank=True)
    server_url = _text("The MCP server's URL.", allow_blank=True)
    injected = serializers.BooleanField(help_text="Whether the gateway added it.")
    invocation_error = _text(
        "Why running it failed, empty when it did not.", allow_blank=True
    )
    duration_ms = _count("Milliseconds it ran in the gateway.", allow_null=True)
    created_at = _moment("When it was recorded.")


class ThoughtSerializer(serializers.Serializer):
    """Text the model thought."""

    id = _id("Id of the row.")
    turn = _count("Which upstream answer of the interception, from 0.")
    source = _choice(ThoughtSource, "Which part of the answer it came from.")
    content = _text("The text.", allow_blank=True)
    created_at = _moment("When it was recorded.")


class AttemptSerializer(serializers.Serializer):
    """One key tried for one turn."""

    id = _id("Id of the row.")
    turn = _count("Which upstream answer of the interception, from 0.")
    position = _count("Order within the interception.")
    key_id = _id("The key, null when it is gone or not of the pool.", allow_null=True)
    key_hint = _text("Masked fragment of the key.", allow_blank=True)
    status = _count("Upstream's HTTP status, null without one.", allow_null=True)
    outcome = _choice(AttemptOutcome, "What it came to.")
    retry_after = serializers.FloatField(
        allow_null=True, help_text="Seconds upstream asked to wait."
    )
    cooldown = serializers.FloatField(
        allow_null=True, help_text="Seconds the key was put aside for."
    )
    upstream_request_id = _text("Upstream's id of the request.", allow_blank=True)
    detail = _text("More about it.", allow_blank=True)
    started_at = _moment("When it began.")
    headers_ms = _count("Milliseconds until upstream's headers.", allow_null=True)


class InterceptionSerializer(serializers.Serializer):
    """One bridged request, with all that was recorded of it."""

    id = _id("Unique, and ordered by time.")
    token_id = _id("The gateway token that was shown.", allow_null=True)
    provider_id = _id("The provider, null when it is not known.", allow_null=True)
    thread_id = _id("Id of the thread's root; the own id for a root.")
    thread_parent_id = _id(
        "The interception whose tool call this one answers.", allow_null=True
    )
    started_at = _moment("When the request came.")
    first_byte_at = _moment("When the client got the first byte.", allow_null=True)
    ended_at = _moment("When it ended, null while in progress.", allow_null=True)
    duration_ms = _count("Milliseconds from start to end.", allow_null=True)
    initiator = InitiatorSerializer(help_text="Who asked.")
    provider_name = _text("The provider's name at the time.", allow_blank=True)
    provider_kind = _text("The provider's kind at the time.")
    dialect = _text("The API the client spoke.")
    route = _text("The path after the provider's name.", allow_blank=True)
    model = _text("The model asked for.", allow_blank=True)
    streaming = serializers.BooleanField(help_text="Whether a stream was asked for.")
    client = _text("The calling tool.")
    user_agent = _text("What the calling tool says of itself.", allow_blank=True)
    session_id = _text("The client's session id, else the thread's.")
    client_session_id = _text("The client's session id.", allow_null=True)
    correlating_tool_call_id = _text(
        "Id of the tool call this request answers.", allow_null=True
    )
    credential_kind = _choice(CredentialKind, "Whose key was used.")
    credential_hint = _text("Masked fragment of the last key.", allow_blank=True)
    outcome = _choice(Outcome, "How it stands.")
    error_type = _choice(ErrorType, "Why it failed, null if not.", allow_null=True)
    error_message = _text("What the error said.", allow_null=True)
    status_code = _count("HTTP status the client got.", allow_null=True)
    response_id = _text("Upstream's id of its first answer.", allow_blank=True)
    stop_reason = _text("Why upstream stopped.", allow_blank=True)
    turns = _count("How many upstream answers it took.")
    tool_calls = _count("How many tools the model called.")
    metadata = serializers.DictField(help_text="Further facts of the request.")
    is_thread_root = serializers.BooleanField(help_text="Whether it began its thread.")
    token_usage = TokenCountsSerializer(help_text="Sums over all turns.")
    prompts = PromptSerializer(many=True, help_text="The prompt, one at most.")
    token_usages = TokenUsageSerializer(many=True, help_text="Tokens of each turn.")
    tool_usages = ToolUsageSerializer(many=True, help_text="Tools called.")
    thoughts = ThoughtSerializer(many=True, help_text="What the model thought.")
    attempts = AttemptSerializer(many=True, help_text="Keys tried, in order.")


class _SessionFactsSerializer(serializers.Serializer):
    id = _id("Unique id of this initiator's session.")
    session_id = _text("The session's id as the client sent it.")
    initiator = InitiatorSerializer(help_text="Who asked.")
    client = _text("The calling tool.")
    user_agent = _text("What the calling tool says of itself.", allow_blank=True)
    providers = serializers.ListField(
        child=serializers.CharField(), help_text="Names of the providers used."
    )
    models = serializers.ListField(
        child=serializers.CharField(), help_text="Models asked for."
    )
    started_at = _moment("When its first interception started.")
    ended_at = _moment("When its last interception ended.", allow_null=True)
    last_active_at = _moment("When it was last active.")
    last_prompt = _text("The beginning of the last prompt.", allow_blank=True)
    interceptions = _count("How many interceptions it has.")
    tool_calls = _count("How many tools were called.")
    failures = _count("How many interceptions failed.")


class SessionSerializer(_SessionFactsSerializer):
    """One initiator's interceptions that share a session id."""

    threads = _count("How many threads it has.")
    token_usage_summary = TokenCountsSerializer(help_text="Sums over the session.")


class ThinkingSerializer(serializers.Serializer):
    """Text the model thought in a turn."""

    source = _choice(ThoughtSource, "Which part of the answer it came from.")
    text = _text("The text.", allow_blank=True)


class ThreadToolCallSerializer(ToolUsageSerializer):
    """A tool call in a thread."""

    turn = None  # type: ignore[assignment]
    interception_id = _id("The interception it belongs to.")


class ThreadAttemptSerializer(serializers.Serializer):
    """One key tried for a turn."""

    position = _count("Order within the interception.")
    key_id = _id("The key, null when it is gone.", allow_null=True)
    key_hint = _text("Masked fragment of the key.", allow_blank=True)
    status = _count("Upstream's HTTP status.", allow_null=True)
    outcome = _choice(AttemptOutcome, "What it came to.")
    retry_after = serializers.FloatField(
        allow_null=True, help_text="Seconds upstream asked to wait."
    )
    cooldown = serializers.FloatField(
        allow_null=True, help_text="Seconds the key was put aside for."
    )
    headers_ms = _count("Milliseconds until upstream's headers.", allow_null=True)


class AgenticActionSerializer(serializers.Serializer):
    """One turn of a thread: thoughts, tool calls, tokens, and how it ended."""

    interception_id = _id("The interception it belongs to.")
    turn = _count("Which upstream answer of the interception, from 0.")
    model = _text("The model asked for.", allow_blank=True)
    provider = _text("The provider's name.", allow_blank=True)
    started_at = _moment("When the interception started.")
    ended_at = _moment("When the interception ended.", allow_null=True)
    duration_ms = _count("Milliseconds the interception took.", allow_null=True)
    outcome = _choice(Outcome, "How the interception stands.")
    error_type = _choice(
        ErrorType, "Why it failed; on the last turn only.", allow_null=True
    )
    error_message = _text("What the error said.", allow_null=True)
    credential_kind = _choice(CredentialKind, "Whose key was used.")
    credential_hint = _text("Masked fragment of the key.", allow_blank=True)
    token_usage = TokenSummarySerializer(help_text="Tokens of the turn.")
    thinking = ThinkingSerializer(many=True, help_text="What the model thought.")
    tool_calls = ThreadToolCallSerializer(many=True, help_text="Tools it called.")
    attempts = ThreadAttemptSerializer(many=True, help_text="Keys tried for it.")


class ThreadErrorSerializer(serializers.Serializer):
    """An interception of the thread that failed."""

    interception_id = _id("The interception.")
    error_type = _choice(ErrorType, "Why it failed.")
    error_message = _text("What the error said.", allow_blank=True)
    at = _moment("When it failed.")


class CredentialSerializer(serializers.Serializer):
    """A credential that the thread used."""

    kind = _choice(CredentialKind, "Whose key it is.")
    hint = _text("Masked fragment of the key.", allow_blank=True)


class ThreadSerializer(serializers.Serializer):
    """One prompt and the loop that followed."""

    id = _id("Id of the thread's root.")
    root_is_here = serializers.BooleanField(
        help_text="False when the root is gone or belongs to another session."
    )
    prompt = _text("What the person asked.", allow_blank=True)
    model = _text("The model that the root asked for.", allow_blank=True)
    models = serializers.ListField(
        child=serializers.CharField(), help_text="Models asked for."
    )
    provider = _text("The root's provider.", allow_blank=True)
    providers = serializers.ListField(
        child=serializers.CharField(), help_text="Names of the providers used."
    )
    credential_kind = _choice(CredentialKind, "Whose key the root used.")
    credential_hint = _text("Masked fragment of the root's key.", allow_blank=True)
    credentials = CredentialSerializer(many=True, help_text="All credentials used.")
    started_at = _moment("When its first interception started.")
    ended_at = _moment("When its last interception ended.", allow_null=True)
    outcome = _choice(Outcome, "How its last interception stands.")
    interceptions = _count("How many interceptions it has.")
    token_usage = TokenSummarySerializer(help_text="Sums over the thread.")
    error_type = _choice(
        ErrorType, "The last error of any interception.", allow_null=True
    )
    error_message = _text("What the last error said.", allow_null=True)
    errors = ThreadErrorSerializer(many=True, help_text="All errors, in order.")
    agentic_actions = AgenticActionSerializer(
        many=True, help_text="Every turn, in order."
    )


class SessionDetailSerializer(_SessionFactsSerializer):
    """A session with a page of its threads."""

    thread_count = _count("How many threads the whole session has.")
    token_usage_summary = TokenSummarySerializer(help_text="Sums over the session.")
    page_started_at = _moment("When the page's first thread started.", allow_null=True)
    page_ended_at = _moment("When the page's last thread ended.", allow_null=True)
    threads = ThreadSerializer(many=True, help_text="The page's threads, in order.")
    next = serializers.URLField(allow_null=True, help_text="The page that follows.")
    previous = serializers.URLField(allow_null=True, help_text="The page ahead.")

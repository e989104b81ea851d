"""Which interceptions and sessions a reader asks for; for REST and the browser alike.

Filters know rows and values, never a response. The search text ``q`` is another way to
give the same filters; what is wrong with a query is told by ``problems``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django import forms
from django.db import connection
from django.db.models import BooleanField, Exists, Func, OuterRef, Q, QuerySet, Value
from django.http import HttpRequest, QueryDict

from interceptions.choices import CredentialKind, ErrorType, Outcome
from interceptions.fulltext import Words, find_words
from interceptions.models import Interception, Session, UserPrompt
from interceptions.moments import started_between
from interceptions.queryfields import (
    UNATTRIBUTED,
    IdFilter,
    InitiatorFilter,
    MomentFilter,
    PromptFilter,
    ProviderFilter,
    StrictBooleanFilter,
)
from interceptions.search import SearchError, parse_search
from providers.kinds import Kind
from providers.models import AiProvider


class _HoldsName(Func):
    """Whether a JSON list of names holds one, on SQLite."""

    template = "EXISTS (SELECT 1 FROM json_each(%(expressions)s))"
    arg_joiner = ") WHERE value = ("
    output_field = BooleanField()


def _bounded(rows: QuerySet, column: str, page: InterceptionFilter) -> QuerySet:
    if page._after is not None:
        rows = rows.filter(**{f"{column}__lt": page._after})
    if page._before is not None:
        rows = rows.filter(**{f"{column}__gt": page._before})
    return rows


def _holds(field: str, name: str) -> Q:
    """Return the condition on sessions whose list of names holds one."""
    if connection.vendor == "postgresql":
        return Q(**{f"{field}__contains": [name]})
    return Q(_HoldsName(field, Value(name)))


def _has_one_of(interceptions: QuerySet) -> Exists:
    """Return the condition on sessions that one of the interceptions belongs to."""
    theirs = interceptions.filter(
        initiator=OuterRef("initiator"), session_id=OuterRef("session_id")
    )
    return Exists(theirs.order_by())


class RangeForm(forms.Form):
    """Refuses a range that ends before it starts."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name, before in list(cleaned.items()):
            if not name.endswith("_before") or before is None:
                continue
            after = cleaned.get(name.replace("_before", "_after"))
            if after is not None and before <= after:
                start = name.replace("_before", "_after")
                self.add_error(name, f"must be later than {start}")
        return cleaned


class SearchFilterSet(django_filters.FilterSet):
    """Filters that can be given one by one or together as ``q``.

    ``default_key`` names the filter that a bare term of ``q`` stands for. ``request``
    is needed for ``me`` only.
    """

    default_key: ClassVar[str | None] = None

    q = django_filters.CharFilter(
        method="ignore",
        label="Search",
        help_text="Filters as one text: `key:value` elements separated by spaces, "
        'quotes around values with spaces or colons (`client:"Claude Code"`).',
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        queryset: QuerySet | None = None,
        *,
        request: HttpRequest | None = None,
        prefix: str | None = None,
    ) -> None:
        self._problems: list[dict[str, str]] = []
        self._found_words: Words | None = None
        single = data.dict() if isinstance(data, QueryDict) else dict(data or {})
        super().__init__(
            self._with_search(single), queryset, request=request, prefix=prefix
        )
        initiator = self.form.fields.get("initiator")
        if initiator is not None:
            initiator.viewer = getattr(request, "user", None)

    def ignore(self, rows: QuerySet, name: str, value: Any) -> QuerySet:
        """Leave the rows alone: ``q`` was read into the other filters."""
        return rows

    def is_valid(self) -> bool:
        return not self._problems and super().is_valid()

    @property
    def least(self) -> int | None:
        """How many rows match at least, where counting them would take long.

        None where they can be counted. Known once the rows were asked for.
        """
        return 0 if self._found_words and self._found_words.least else None

    @property
    def problems(self) -> list[dict[str, str]]:
        """Return ``{"field", "detail"}`` for each thing wrong with the query."""
        found = list(self._problems)
        for field, details in self.errors.items():
            found += [{"field": field, "detail": str(text)} for text in details]
        return found

    def filter_queryset(self, queryset: QuerySet) -> QuerySet:
        return super().filter_queryset(queryset) if self.is_valid() else queryset.none()

    def _words(self, text: str) -> Words:
        """Return the words to find; how common they are is asked once."""
        if self._found_words is None:
            self._found_words = find_words(text)
        return self._found_words

    def _with_search(self, given: dict[str, Any]) -> dict[str, Any]:
        try:
            terms = parse_search(
                str(given.get("q") or ""), default_key=self.default_key
            )
        except SearchError as error:
            self._problems += [{"field": "q", "detail": why} for why in error.details]
            return given
        for key, value in terms.items():
            if key not in self.base_filters or key == "q":
                self._add_problem(key, f'"{key}" is not a valid search key')
            elif given.get(key):
                self._add_problem(key, "is given both in q and as a parameter")
            else:
                given[key] = value
        return given

    def _add_problem(self, field: str, detail: str) -> None:
        self._problems.append({"field": field, "detail": detail})


class InterceptionFilter(SearchFilterSet):
    """Filters of interceptions; all given must hold."""

    default_key = "initiator"

    initiator = InitiatorFilter(
        help_text="Who asked: a username, a user id, or `me`. A bare term of `q`."
    )
    provider_id = ProviderFilter(
        method="of_provider",
        help_text="A provider's id or name, deleted ones included; finds rows from "
        "before ids were stored by name and kind when that is unambiguous. `none` "
        "finds rows that belong to no known provider.",
    )
    provider = django_filters.CharFilter(
        field_name="provider_name",
        max_length=100,
        help_text="The provider's name at the time.",
    )
    kind = django_filters.ChoiceFilter(
        field_name="provider_kind", choices=Kind, help_text="The provider's kind."
    )
    model = django_filters.CharFilter(max_length=200, help_text="The model asked for.")
    client = django_filters.CharFilter(
        max_length=64, help_text="The calling tool, for example `Claude Code`."
    )
    session_id = django_filters.CharFilter(
        max_length=256, help_text="The session's id as the client sent it."
    )
    thread_id = IdFilter(help_text="Id of the thread's root.")
    outcome = django_filters.ChoiceFilter(
        choices=Outcome, help_text="How the interception stands."
    )
    error_type = django_filters.ChoiceFilter(
        choices=ErrorType, help_text="Why it failed."
    )
    credential_kind = django_filters.ChoiceFilter(
        choices=CredentialKind, help_text="Whose key was used."
    )
    started_after = MomentFilter(
        method="ignore", help_text="Started at this moment or later."
    )
    started_before = MomentFilter(
        method="ignore", help_text="Started at this moment or earlier."
    )
    prompt = PromptFilter(
        method="with_prompt",
        help_text="Words that the prompt has, in any order.",
    )

    class Meta:
        model = Interception
        fields: ClassVar[list[str]] = []
        form = RangeForm

    # Set while one page is asked for; see ``between``.
    _after: UUID | None = None
    _before: UUID | None = None

    def between(self, *, after: UUID | None, before: UUID | None) -> QuerySet:
        """Return the matching rows whose ids are below ``after``, above ``before``.

        Bounds that are set here reach every table that is searched, which a filter on
        the result would not.
        """
        self._after, self._before = after, before
        try:
            return _bounded(self.filter_queryset(self.queryset.all()), "id", self)
        finally:
            self._after = self._before = None

    def of_provider(
        self, rows: QuerySet, name: str, value: AiProvider | str
    ) -> QuerySet:
        """Return a provider's interceptions, or those of no provider."""
        if value == UNATTRIBUTED:
            return rows.unattributed()  # type: ignore[attr-defined]
        return rows.for_provider(value)  # type: ignore[attr-defined]

    @property
    def least(self) -> int | None:
        """Return how many prompts have common words; other filters are counted."""
        words = self._found_words
        if words is None or super().least is None:
            return None
        given = {name for name, value in self.form.cleaned_data.items() if value}
        is_alone = given <= {"prompt", "q"} and not self.queryset.query.where
        return words.least if is_alone else None

    def with_prompt(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """Return the interceptions whose prompt has all the words."""
        words = self._words(value)
        if (found := words.condition()) is not None:
            return rows.filter(found)
        prompts = UserPrompt.objects.filter(interception=OuterRef("pk"))
        return rows.filter(words.is_in(_bounded(prompts, "interception_id", self)))

    def filter_queryset(self, queryset: QuerySet) -> QuerySet:
        rows = super().filter_queryset(queryset)
        if not self.is_valid():
            return rows
        given = self.form.cleaned_data
        return started_between(rows, given["started_after"], given["started_before"])


class SessionFilter(SearchFilterSet):
    """Filters of sessions; all given must hold."""

    initiator = InitiatorFilter(help_text="Who asked: a username, a user id, or `me`.")
    provider_id = ProviderFilter(
        method="of_provider",
        help_text="A provider's id or name, deleted ones included; or `none`.",
    )
    provider = django_filters.CharFilter(
        method="with_provider_name",
        max_length=100,
        help_text="A provider's name that the session used.",
    )
    kind = django_filters.ChoiceFilter(
        method="of_kind", choices=Kind, help_text="A kind of provider it used."
    )
    model = django_filters.CharFilter(
        method="with_model", max_length=200, help_text="A model that it asked for."
    )
    client = django_filters.CharFilter(
        max_length=64, help_text="The calling tool, for example `Claude Code`."
    )
    session_id = django_filters.CharFilter(
        max_length=256, help_text="The session's id as the client sent it."
    )
    failed = StrictBooleanFilter(
        method="with_failures",
        help_text="Whether any of its interceptions failed.",
    )
    started_after = MomentFilter(
        field_name="started_at",
        lookup_expr="gte",
        help_text="Started at this moment or later.",
    )
    started_before = MomentFilter(
        field_name="started_at",
        lookup_expr="lte",
        help_text="Started at this moment or earlier.",
    )
    active_after = MomentFilter(
        field_name="last_active_at",
        lookup_expr="gte",
        help_text="Last active at this moment or later.",
    )
    active_before = MomentFilter(
        field_name="last_active_at",
        lookup_expr="lte",
        help_text="Last active at this moment or earlier.",
    )
    prompt = PromptFilter(
        method="with_prompt",
        help_text="Words that one of its prompts has, in any order.",
    )

    class Meta:
        model = Session
        fields: ClassVar[list[str]] = []
        form = RangeForm

    def of_provider(
        self, rows: QuerySet, name: str, value: AiProvider | str
    ) -> QuerySet:
        """Return the sessions that used a provider, or an unknown one."""
        if isinstance(value, str):
            return rows.filter(_has_one_of(Interception.objects.unattributed()))
        own = _holds("provider_ids", str(value.pk))
        kept = Interception.objects.kept_for(value)
        return rows.filter(own if kept is None else own | Q(_has_one_of(kept)))

    def of_kind(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """Return the sessions that used a kind of provider."""
        return rows.filter(_holds("provider_kinds", value))

    def with_provider_name(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """Return the sessions that used a provider of this name."""
        return rows.filter(_holds("provider_names", value))

    def with_model(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """Return the sessions that asked for a model."""
        return rows.filter(_holds("model_names", value))

    def with_failures(self, rows: QuerySet, name: str, value: bool) -> QuerySet:
        """Return the sessions with, or without, a failed interception."""
        return rows.filter(failures__gt=0) if value else rows.filter(failures=0)

    def with_prompt(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """Return the sessions in which one prompt has all the words."""
        words = self._words(value)
        if (found := words.condition()) is not None:
            return rows.filter(_has_one_of(Interception.objects.filter(found)))
        prompts = UserPrompt.objects.filter(
            interception__initiator=OuterRef("initiator"),
            interception__session_id=OuterRef("session_id"),
        )
        return rows.filter(words.is_in(prompts))

"""From a request's query to rows: filters that refuse, and what the caller may see."""

from __future__ import annotations

from typing import Any, TypeVar

import django_filters
from django.db.models import QuerySet
from django_filters import filters as kinds
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework.request import Request

from interceptions.filters import SearchFilterSet
from interceptions.queryfields import IdFilter, MomentFilter, StrictBooleanFilter
from providers.api.errors import InvalidQuery
from providers.api.schema import VISIBLE_TEXT

_Filters = TypeVar("_Filters", bound=SearchFilterSet)

EXAMPLES = {
    "q": 'client:"Claude Code"',
    "initiator": "me",
    "provider_id": "none",
    "provider": "anthropic-eu",
    "kind": "anthropic",
    "model": "claude-sonnet-4-5",
    "client": "Claude Code",
    "session_id": "b1b7f0f2-6a50-4f2e-9d0a-1c2d3e4f5a6b",
    "thread_id": "01990b7c-4c00-7d3e-9f21-5b6a7c8d9e0f",
    "outcome": "completed",
    "error_type": "rate_limited",
    "credential_kind": "centralized",
    "failed": False,
    "started_after": "2026-01-01T00:00:00Z",
    "started_before": "2099-01-01T00:00:00Z",
    "active_after": "2026-01-01T00:00:00Z",
    "active_before": "2099-01-01T00:00:00Z",
    "prompt": "fix test",
}
"""A value of each filter, for the description."""


def read_filters(
    filterset_class: type[_Filters], request: Request, rows: QuerySet
) -> _Filters:
    """Return the filters that the query asks for; raises InvalidQuery."""
    filterset = filterset_class(request.query_params, rows, request=request)
    if not filterset.is_valid():
        raise InvalidQuery(filterset.problems)
    return filterset


def filter_names(filterset_class: type[SearchFilterSet]) -> frozenset[str]:
    """Return the names of a filter set's query parameters."""
    return frozenset(filterset_class.base_filters)


def filter_parameters(
    filterset_class: type[SearchFilterSet],
) -> list[OpenApiParameter]:
    """Return the description of a filter set's query parameters."""
    return [
        OpenApiParameter(
            name,
            _value_schema(each),
            description=str(each.extra.get("help_text", "")),
            required=False,
            examples=[OpenApiExample("example", EXAMPLES[name])],
        )
        for name, each in filterset_class.base_filters.items()
    ]


def _value_schema(each: django_filters.Filter) -> dict[str, Any]:
    if isinstance(each, MomentFilter):
        return {"type": "string", "format": "date-time"}
    if isinstance(each, IdFilter):
        return {"type": "string", "format": "uuid"}
    if isinstance(each, StrictBooleanFilter):
        return {"type": "boolean"}
    if isinstance(each, kinds.ChoiceFilter):
        values = getattr(each.extra["choices"], "values", None)
        return {"type": "string", "enum": list(values or [])}
    schema: dict[str, Any] = {"type": "string", "pattern": VISIBLE_TEXT}
    if "max_length" in each.extra:
        schema["maxLength"] = each.extra["max_length"]
    return schema

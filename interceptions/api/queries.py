"""From a request's query to rows: filters that refuse, and what the caller may see."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from django_filters import filters as kinds
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from interceptions.filters import SearchFilterSet
from interceptions.queryfields import IdFilter, MomentFilter, StrictBooleanFilter
from providers.api.errors import InvalidQuery
from providers.api.schema import VISIBLE_TEXT


def filtered(
    filterset_class: type[SearchFilterSet], request: Request, rows: QuerySet
) -> QuerySet:
    """Return the rows that the query asks for; raises InvalidQuery."""
    filterset = filterset_class(request.query_params, rows, request=request)
    if not filterset.is_valid():
        raise InvalidQuery(filterset.problems)
    return filterset.qs


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

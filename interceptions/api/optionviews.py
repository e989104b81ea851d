"""Values for filters over REST."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from interceptions.api.options import facet_values, provider_names
from interceptions.permissions import ReadsEverything
from interceptions.search import SearchError, parse_search
from providers.api.base import StrictView
from providers.api.errors import InvalidQuery
from providers.api.paging import read_limit, read_number, read_text
from providers.api.schema import limit_parameter, text_parameter

_FURTHEST = 1_000_000

_PARAMETERS = [
    text_parameter("q", "The beginning of the value; upper and lower case are equal."),
    limit_parameter(),
    OpenApiParameter(
        "offset",
        {"type": "integer", "minimum": 0, "maximum": _FURTHEST, "default": 0},
        description="How many values to skip.",
        required=False,
    ),
]
_NAMES = {"type": "array", "items": {"type": "string"}}


class _FacetView(StrictView):
    permission_classes = [ReadsEverything]
    kind: ClassVar[str]

    def query_names(self) -> frozenset[str]:
        return frozenset({"q", "limit", "offset"})

    def get(self, request: Request) -> Response:
        """Return the values seen so far, sorted."""
        start = read_number(request, "offset", default=0, least=0, most=_FURTHEST)
        values = facet_values(self.kind, self._prefix(request))
        return Response(list(values[start : start + read_limit(request)]))

    def _prefix(self, request: Request) -> str:
        text = read_text(request, "q") or ""
        try:
            terms = parse_search(text, default_key=self.kind)
        except SearchError as error:
            raise InvalidQuery(
                [{"field": "q", "detail": why} for why in error.details]
            ) from error
        unknown = [
            {"field": key, "detail": f'"{key}" is not a valid search key'}
            for key in terms
            if key != self.kind
        ]
        if unknown:
            raise InvalidQuery(unknown)
        return terms.get(self.kind, "")


@extend_schema_view(
    get=extend_schema(
        operation_id="models_list",
        summary="List models",
        tags=["options"],
        parameters=_PARAMETERS,
        responses={200: _NAMES},
    )
)
class ModelList(_FacetView):
    """Models that were asked for."""

    kind = "model"


@extend_schema_view(
    get=extend_schema(
        operation_id="clients_list",
        summary="List clients",
        tags=["options"],
        parameters=_PARAMETERS,
        responses={200: _NAMES},
    )
)
class ClientList(_FacetView):
    """Tools that called."""

    kind = "client"


class ProviderNameSerializer(serializers.Serializer):
    """What an auditor may know of a provider."""

    id = serializers.UUIDField(
        allow_null=True, help_text="Null when only old interceptions know the name."
    )
    name = serializers.CharField(help_text="Its segment in the data plane's URLs.")
    kind = serializers.CharField(allow_null=True, help_text="Which API it speaks.")
    display_name = serializers.CharField(help_text="Shown to people.")
    enabled = serializers.BooleanField(help_text="Whether it serves requests.")
    deleted = serializers.BooleanField(help_text="Whether it was deleted.")


class ProviderNameList(StrictView):
    """Names of providers."""

    permission_classes = [ReadsEverything]

    @extend_schema(
        operation_id="provider_names_list",
        summary="List names of providers",
        tags=["options"],
        responses=ProviderNameSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Return all names, those of deleted providers too, each once."""
        return Response(provider_names())

"""Providers over REST, for administrators."""

from __future__ import annotations

import re
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from providers import upkeep
from providers.api.base import StrictView
from providers.api.errors import Invalid, InvalidQuery
from providers.api.fields import NAME_PATTERN
from providers.api.paging import UUID_TEXT
from providers.api.permissions import ModelPermission
from providers.api.serializers import (
    ProviderCreateSerializer,
    ProviderPatchSerializer,
    ProviderSerializer,
    provider_payload,
)
from providers.api.writes import change_provider, create_provider, restore
from providers.models import AiProvider, ApiKey

_DELETED = ("exclude", "only", "include")
_TAGS = ["providers"]


def provider_parameter() -> OpenApiParameter:
    """Return the description of the path part that names a provider."""
    return OpenApiParameter(
        "provider",
        {"type": "string", "pattern": NAME_PATTERN},
        OpenApiParameter.PATH,
        description="The provider's id or name.",
    )


class ProviderList(StrictView):
    """Providers, sorted by name."""

    permission_classes = [ModelPermission]
    model = AiProvider
    conflict_methods = ("POST",)

    def query_names(self) -> frozenset[str]:
        reading = self.request.method == "GET"
        return frozenset({"deleted"}) if reading else frozenset()

    @extend_schema(
        operation_id="providers_list",
        summary="List providers",
        tags=_TAGS,
        parameters=[
            OpenApiParameter(
                "deleted",
                {"type": "string", "enum": list(_DELETED), "default": _DELETED[0]},
                description="Whether deleted providers are listed.",
                required=False,
            )
        ],
        responses=ProviderSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Return the providers, disabled ones too, sorted by name."""
        deleted = request.query_params.get("deleted", _DELETED[0])
        if deleted not in _DELETED:
            detail = f"must be one of {', '.join(_DELETED)}"
            raise InvalidQuery([{"field": "deleted", "detail": detail}])
        rows = with_keys(AiProvider.all_objects.order_by("name", "id"))
        if deleted != "include":
            rows = rows.filter(deleted_at__isnull=deleted == "exclude")
        now = timezone.now()
        return Response([provider_payload(row, now) for row in rows])

    @extend_schema(
        operation_id="providers_create",
        summary="Add a provider",
        tags=_TAGS,
        request=ProviderCreateSerializer,
        responses={201: ProviderSerializer},
    )
    def post(self, request: Request) -> Response:
        """Add a provider and its first keys; 409 when a live one has the name."""
        body = ProviderCreateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        provider = create_provider(body.validated_data, request.user)
        return Response(_shown(provider.pk), status.HTTP_201_CREATED)


class ProviderDetail(StrictView):
    """One provider."""

    permission_classes = [ModelPermission]
    model = AiProvider
    row_kwarg = "provider"

    @extend_schema(
        operation_id="providers_retrieve",
        summary="Get a provider",
        tags=_TAGS,
        parameters=[provider_parameter()],
        responses=ProviderSerializer,
    )
    def get(self, request: Request, provider: str) -> Response:
        """Return a provider with its keys."""
        return Response(_shown(find_provider(provider).pk))

    @extend_schema(
        operation_id="providers_partial_update",
        summary="Change a provider",
        tags=_TAGS,
        parameters=[provider_parameter()],
        request=ProviderPatchSerializer,
        responses=ProviderSerializer,
    )
    def patch(self, request: Request, provider: str) -> Response:
        """Change what is given. `api_keys` is the whole pool as it shall be."""
        row = find_provider(provider, with_secrets=True)
        body = ProviderPatchSerializer(data=request.data, context={"provider": row})
        body.is_valid(raise_exception=True)
        if not body.validated_data:
            raise Invalid([], "At least one field must be provided.")
        change_provider(row, body.validated_data, request.user)
        return Response(_shown(row.pk))

    @extend_schema(
        operation_id="providers_destroy",
        summary="Delete a provider",
        tags=_TAGS,
        parameters=[provider_parameter()],
        responses={204: None},
    )
    def delete(self, request: Request, provider: str) -> Response:
        """Take a provider away from clients; its history and keys stay."""
        upkeep.soft_delete(find_provider(provider), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ProviderRestore(StrictView):
    """Brings a deleted provider back."""

    permission_classes = [ModelPermission]
    model = AiProvider
    row_kwarg = "provider"
    verbs = {"POST": "change"}
    conflict_methods = ("POST",)

    @extend_schema(
        operation_id="providers_restore",
        summary="Restore a deleted provider",
        tags=_TAGS,
        parameters=[provider_parameter()],
        request=None,
        responses=ProviderSerializer,
    )
    def post(self, request: Request, provider: str) -> Response:
        """Bring it back, switched off; of one name the one deleted last."""
        rows = AiProvider.all_objects.exclude(deleted_at=None)
        row = _find(rows.order_by("-deleted_at"), provider)
        restore(row, request.user)
        return Response(_shown(row.pk))


def find_provider(text: str, *, with_secrets: bool = False) -> AiProvider:
    """Return a live provider by id or name.

    Raises Http404, or Invalid when the text can be neither.
    """
    return _find(AiProvider.objects.all(), text, with_secrets=with_secrets)


def _find(rows: QuerySet, text: str, *, with_secrets: bool = False) -> AiProvider:
    if UUID_TEXT.fullmatch(text):
        rows = rows.filter(pk=text)
    elif re.fullmatch(NAME_PATTERN, text) and "\n" not in text:
        rows = rows.filter(name=text)
    else:
        detail = "is neither an id nor a name of a provider"
        raise Invalid(
            [{"field": "provider", "detail": detail}],
            "Invalid id or name of a provider.",
        )
    row = (rows if with_secrets else rows.defer("secret_options")).first()
    if row is None:
        raise Http404
    return row


def with_keys(rows: QuerySet) -> QuerySet:
    """Return providers with their keys, no secret read; two queries."""
    keys = ApiKey.objects.defer("secret").order_by("position", "id")
    return rows.defer("secret_options").prefetch_related(Prefetch("keys", keys))


def _shown(pk: Any) -> dict[str, Any]:
    row = with_keys(AiProvider.all_objects.filter(pk=pk)).get()
    return provider_payload(row, timezone.now())

"""A provider's keys over REST, for administrators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from providers import upkeep
from providers.api.base import StrictView
from providers.api.errors import Invalid
from providers.api.permissions import ModelPermission
from providers.api.serializers import (
    KeyCreateSerializer,
    KeyOrderSerializer,
    KeyPatchSerializer,
    KeyRotateSerializer,
    KeySerializer,
    KeyTestSerializer,
    key_payload,
)
from providers.api.views import find_provider, provider_parameter
from providers.api.writes import secret_errors
from providers.models import AiProvider, ApiKey

_TAGS = ["keys"]
_NO_FIELD = "At least one field must be provided."


class _KeyView(StrictView):
    permission_classes = [ModelPermission]
    model = ApiKey
    row_kwarg = "provider"


class KeyList(_KeyView):
    """The keys of a provider, in the order in which they are tried."""

    @extend_schema(
        operation_id="keys_list",
        summary="List keys and their health",
        tags=_TAGS,
        parameters=[provider_parameter()],
        responses=KeySerializer(many=True),
    )
    def get(self, request: Request, provider: str) -> Response:
        """Return the keys in the order in which they are tried."""
        return Response(_all_shown(find_provider(provider)))

    @extend_schema(
        operation_id="keys_create",
        summary="Add a key",
        tags=_TAGS,
        parameters=[provider_parameter()],
        request=KeyCreateSerializer,
        responses={201: KeySerializer},
    )
    def post(self, request: Request, provider: str) -> Response:
        """Append a key to the pool; 400 when the pool has it already."""
        row = find_provider(provider)
        given = _read(KeyCreateSerializer, request)
        pair = (given["api_key"], given.get("label", ""))
        with secret_errors():
            (key,) = upkeep.add_keys(row, [pair], actor=request.user)
        return Response(_shown(key), status.HTTP_201_CREATED)


class KeyOrder(_KeyView):
    """The order of a provider's keys."""

    @extend_schema(
        operation_id="keys_reorder",
        summary="Put keys in order",
        tags=_TAGS,
        parameters=[provider_parameter()],
        request=KeyOrderSerializer,
        responses=KeySerializer(many=True),
    )
    def put(self, request: Request, provider: str) -> Response:
        """Try the keys in the order given."""
        row = find_provider(provider)
        ids = _read(KeyOrderSerializer, request)["ids"]
        if len(set(ids)) < len(ids):
            raise serializers.ValidationError({"ids": ["contains an id twice"]})
        if set(ids) - set(row.keys.values_list("pk", flat=True)):
            raise serializers.ValidationError({"ids": ["contains an unknown id"]})
        upkeep.set_order(row, ids, actor=request.user)
        return Response(_all_shown(row))


class KeyDetail(_KeyView):
    """One key of a provider."""

    @extend_schema(
        operation_id="keys_retrieve",
        summary="Get a key and its health",
        tags=_TAGS,
        parameters=[provider_parameter()],
        responses=KeySerializer,
    )
    def get(self, request: Request, provider: str, pk: UUID) -> Response:
        """Return a key, without its secret."""
        return Response(_shown(_find(provider, pk)))

    @extend_schema(
        operation_id="keys_partial_update",
        summary="Label a key, or switch it on or off",
        tags=_TAGS,
        parameters=[provider_parameter()],
        request=KeyPatchSerializer,
        responses=KeySerializer,
    )
    def patch(self, request: Request, provider: str, pk: UUID) -> Response:
        """Change what is given."""
        key = _find(provider, pk)
        given = _read(KeyPatchSerializer, request)
        if not given:
            raise Invalid([], _NO_FIELD)
        if "label" in given:
            upkeep.relabel(key, given["label"], actor=request.user)
        if "enabled" in given:
            upkeep.set_enabled(key, given["enabled"], actor=request.user)
        return Response(_shown(key))

    @extend_schema(
        operation_id="keys_destroy",
        summary="Delete a key",
        tags=_TAGS,
        parameters=[provider_parameter()],
        responses={204: None},
    )
    def delete(self, request: Request, provider: str, pk: UUID) -> Response:
        """Remove a key for good; the other keys stay as they are."""
        upkeep.delete_key(_find(provider, pk), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class _KeyActionView(_KeyView):
    verbs = {"POST": "change"}


class KeyRotate(_KeyActionView):
    """Gives a key another secret."""

    @extend_schema(
        operation_id="keys_rotate",
        summary="Rotate a key in place",
        tags=_TAGS,
        parameters=[provider_parameter()],
        request=KeyRotateSerializer,
        responses=KeySerializer,
    )
    def post(self, request: Request, provider: str, pk: UUID) -> Response:
        """Change the secret; place, label and history stay, its health is reset."""
        key = _find(provider, pk)
        secret = _read(KeyRotateSerializer, request)["api_key"]
        with secret_errors():
            upkeep.rotate(key, secret, actor=request.user)
        return Response(_shown(key))


class KeyTest(_KeyActionView):
    """Tries a key."""

    @extend_schema(
        operation_id="keys_test",
        summary="Test a key",
        tags=_TAGS,
        parameters=[provider_parameter()],
        request=None,
        responses=KeyTestSerializer,
    )
    def post(self, request: Request, provider: str, pk: UUID) -> Response:
        """Ask upstream whether it accepts the key; if so it returns to service.

        Costs no tokens, and takes 20 seconds at most.
        """
        key = _find(provider, pk)
        test = upkeep.test_key(key, actor=request.user)
        return Response(asdict(test) | {"key": _shown(key)})


class KeyReturn(_KeyActionView):
    """Brings a key back."""

    @extend_schema(
        operation_id="keys_return",
        summary="Return a key to service",
        tags=_TAGS,
        parameters=[provider_parameter()],
        request=None,
        responses=KeySerializer,
    )
    def post(self, request: Request, provider: str, pk: UUID) -> Response:
        """End a key's rest or retirement for all processes."""
        key = _find(provider, pk)
        upkeep.return_to_service(key, actor=request.user)
        return Response(_shown(key))


def _read(
    serializer_class: type[serializers.Serializer], request: Request
) -> dict[str, Any]:
    body = serializer_class(data=request.data)
    body.is_valid(raise_exception=True)
    return body.validated_data


def _find(provider: str, pk: UUID) -> ApiKey:
    row = _keys_of(find_provider(provider)).filter(pk=pk).first()
    if row is None:
        raise Http404
    return row


def _keys_of(provider: AiProvider) -> QuerySet:
    keys = ApiKey.objects.filter(provider=provider).defer("secret")
    return keys.select_related("provider").order_by("position", "id")


def _shown(key: ApiKey) -> dict[str, Any]:
    row = ApiKey.objects.defer("secret").get(pk=key.pk)
    return key_payload(row, timezone.now())


def _all_shown(provider: AiProvider) -> list[dict[str, Any]]:
    now = timezone.now()
    return [key_payload(key, now) for key in _keys_of(provider)]

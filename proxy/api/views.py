"""Gateway tokens over REST."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from providers import audit
from providers.api.base import StrictView
from providers.api.errors import Invalid
from providers.api.paging import IdPages, capped_count, ids_between, links, read_text
from providers.api.schema import id_page_parameters, page_schema, text_parameter
from proxy.actors import issue_token
from proxy.api.permissions import OwnsTokens, manageable, may_manage_all
from proxy.api.serializers import (
    NewTokenSerializer,
    TokenCreateSerializer,
    TokenPatchSerializer,
    TokenSerializer,
    token_payload,
)
from proxy.models import GatewayToken

_TAGS = ["tokens"]


class TokenList(StrictView):
    """Gateway tokens, the newest first."""

    permission_classes = [OwnsTokens]
    pages = IdPages()

    def query_names(self) -> frozenset[str]:
        reading = self.request.method == "GET"
        return self.pages.names | {"owner"} if reading else frozenset()

    @extend_schema(
        operation_id="tokens_list",
        summary="List tokens",
        tags=_TAGS,
        parameters=[
            *id_page_parameters(),
            text_parameter("owner", "Username of the owner.", max_length=150),
        ],
        responses=page_schema("results", TokenSerializer),
    )
    def get(self, request: Request) -> Response:
        """Return the own tokens, for administrators all, the newest first."""
        rows = manageable(request.user)
        owner = read_text(request, "owner", max_length=150)
        if owner is not None:
            rows = rows.filter(owner__username=owner)
        page, now = self.pages.page(ids_between(rows), request), timezone.now()
        return Response(
            capped_count(rows, page)
            | links(request, page, self.pages.names)
            | {"results": [token_payload(row, now) for row in page.rows]}
        )

    @extend_schema(
        operation_id="tokens_create",
        summary="Make a token",
        tags=_TAGS,
        request=TokenCreateSerializer,
        responses={201: NewTokenSerializer},
    )
    def post(self, request: Request) -> Response:
        """Make a token. Its text is in this answer and nowhere else."""
        given = self._read(request)
        owner = given.get("owner", request.user)
        with transaction.atomic():
            row, raw = issue_token(owner, given["name"], given.get("expires_at"))
            facts = {"owner": owner.get_username(), "expires_at": row.expires_at}
            audit.record(request.user, "create", row, facts)
        shown = token_payload(row, timezone.now()) | {"token": raw}
        return Response(shown, status.HTTP_201_CREATED)

    def _read(self, request: Request) -> dict[str, Any]:
        context = {
            "viewer": request.user,
            "is_administrator": may_manage_all(request.user),
        }
        body = TokenCreateSerializer(data=request.data, context=context)
        body.is_valid(raise_exception=True)
        return body.validated_data


class TokenDetail(StrictView):
    """One gateway token."""

    permission_classes = [OwnsTokens]

    @extend_schema(
        operation_id="tokens_retrieve",
        summary="Get a token",
        tags=_TAGS,
        responses=TokenSerializer,
    )
    def get(self, request: Request, pk: UUID) -> Response:
        """Return a token, without its text."""
        return Response(token_payload(_find(request, pk), timezone.now()))

    @extend_schema(
        operation_id="tokens_partial_update",
        summary="Rename a token, or change when it ends",
        tags=_TAGS,
        request=TokenPatchSerializer,
        responses=TokenSerializer,
    )
    def patch(self, request: Request, pk: UUID) -> Response:
        """Change what is given."""
        row = _find(request, pk)
        body = TokenPatchSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        if not body.validated_data:
            raise Invalid([], "At least one field must be provided.")
        _change(row, body.validated_data, request.user)
        return Response(token_payload(row, timezone.now()))

    @extend_schema(
        operation_id="tokens_revoke",
        summary="Revoke a token",
        tags=_TAGS,
        responses={204: None},
    )
    def delete(self, request: Request, pk: UUID) -> Response:
        """Refuse the token from now on; it stays in the list as revoked."""
        row = _find(request, pk)
        if row.revoked_at is None:
            with transaction.atomic():
                row.revoked_at = timezone.now()
                row.save(update_fields=["revoked_at"])
                audit.record(request.user, "revoke", row)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _change(row: GatewayToken, given: dict[str, Any], actor: Any) -> None:
    with transaction.atomic():
        before = audit.snapshot(row)
        for name, value in given.items():
            setattr(row, name, value)
        row.save(update_fields=list(given))
        changes = audit.difference(before, audit.snapshot(row))
        if changes:
            audit.record(actor, "change", row, changes)


def _find(request: Request, pk: UUID) -> GatewayToken:
    row = _rows(request).filter(pk=pk).first()
    if row is None:
        raise Http404
    return row


def _rows(request: Request) -> QuerySet:
    return manageable(request.user)

"""The API's description as OpenAPI, and a page that shows it without the Internet."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from providers.api.base import StrictView


class OpenApiRenderer(JSONRenderer):
    """JSON under the name that OpenAPI has for it."""

    media_type = "application/vnd.oai.openapi+json"


@cache
def schema() -> dict[str, Any]:
    """Return the description; it is the same for everybody and made once."""
    return SchemaGenerator().get_schema(request=None, public=True)


class SchemaView(StrictView):
    """The description, for whoever is logged in."""

    permission_classes = [IsAuthenticated]
    renderer_classes = [OpenApiRenderer]

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        """Return the whole description."""
        return Response(schema())


class DocsView(LoginRequiredMixin, SpectacularSwaggerSplitView):
    """The description as a page; who is not logged in is led to the login."""

    permission_classes = [AllowAny]
    url_name = "api-schema"

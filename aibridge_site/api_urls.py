"""The REST API's doors, below /api/aigateway/."""

from __future__ import annotations

from django.urls import include, path, re_path
from django.views.generic import RedirectView

from providers.api.handler import not_found
from providers.api.routes import route
from providers.api.schemaviews import DocsView, SchemaView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="api-docs")),
    *route("schema", SchemaView, name="api-schema"),
    path("docs/", DocsView.as_view(), name="api-docs"),
    path("docs", RedirectView.as_view(pattern_name="api-docs")),
    path("", include("interceptions.api.urls")),
    path("", include("providers.api.urls")),
    path("", include("proxy.api.urls")),
    re_path("", not_found),
]

"""The doors: which path leads where."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("aibridge/", include("proxy.urls")),
    path("api/aigateway/", include("aibridge_site.api_urls")),
]

handler400 = "aibridge_site.problems.bad_request"
handler403 = "aibridge_site.problems.permission_denied"
handler404 = "aibridge_site.problems.not_found"
handler500 = "aibridge_site.problems.server_error"

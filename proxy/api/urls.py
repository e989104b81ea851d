"""Paths of gateway tokens."""

from __future__ import annotations

from providers.api.routes import route
from proxy.api import views

urlpatterns = [
    *route("tokens", views.TokenList),
    *route("tokens/<uuid:pk>", views.TokenDetail),
]

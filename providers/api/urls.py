"""Paths of providers and keys."""

from __future__ import annotations

from providers.api import keyviews, views
from providers.api.routes import route

_KEYS = "providers/<str:provider>/keys"
_KEY = f"{_KEYS}/<uuid:pk>"

urlpatterns = [
    *route("providers", views.ProviderList),
    *route("providers/<str:provider>", views.ProviderDetail),
    *route("providers/<str:provider>/restore", views.ProviderRestore),
    *route(_KEYS, keyviews.KeyList),
    *route(f"{_KEYS}/order", keyviews.KeyOrder),
    *route(_KEY, keyviews.KeyDetail),
    *route(f"{_KEY}/rotate", keyviews.KeyRotate),
    *route(f"{_KEY}/test", keyviews.KeyTest),
    *route(f"{_KEY}/return", keyviews.KeyReturn),
]

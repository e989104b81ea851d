"""The data plane's URLs, below /aibridge/."""

from __future__ import annotations

from django.urls import path

from proxy.views import bridge

urlpatterns = [path("<str:provider_name>/<path:route>", bridge, name="bridge")]

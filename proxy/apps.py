"""The app that speaks the wire."""

from django.apps import AppConfig


class ProxyConfig(AppConfig):
    """The data plane and its tokens."""

    name = "proxy"
    verbose_name = "Gateway"
    default_auto_field = "django.db.models.BigAutoField"

"""The app that knows what happened."""

from django.apps import AppConfig


class InterceptionsConfig(AppConfig):
    """Interceptions, their parts, and reading them."""

    name = "interceptions"
    verbose_name = "Traffic"
    default_auto_field = "django.db.models.BigAutoField"

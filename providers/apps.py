"""The app that knows who can be talked to."""

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    """Providers and their keys."""

    name = "providers"
    verbose_name = "AI providers"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and how times are read."""
        from providers import checks  # noqa: F401
        from providers.database import read_moments_quickly

        read_moments_quickly()

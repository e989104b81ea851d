"""Move every stored secret to the first of AIBRIDGE_ENCRYPTION_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from providers.rotation import rotate_secrets


class Command(BaseCommand):
    """Encrypt all secrets anew; afterwards the older keys may be removed."""

    help = (
        "Encrypt every stored secret anew with the first of AIBRIDGE_ENCRYPTION_KEYS. "
        "Put the new key in front, restart, run this, then remove the older keys."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        rotation = rotate_secrets()
        self.stdout.write(f"{rotation.done} secrets encrypted with the first key.")
        if rotation.failed:
            raise CommandError(
                "No configured key opens the secret of: " + ", ".join(rotation.failed)
            )

"""The demo provider's rows: how clients reach a local process that makes answers up."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.db import transaction

from providers.kinds import Kind
from providers.models import AiProvider
from providers.seeds import create_provider
from proxy.demo.server import DEMO_KEY

_HOST = "127.0.0.1"
# Name, kind, and what the base URL of the kind ends in.
_ROWS = (
    ("demo-anthropic", Kind.ANTHROPIC, ""),
    ("demo-openai", Kind.OPENAI, "/v1"),
)


def is_wanted() -> bool:
    """Return whether there is a demo row, or no provider was ever stored."""
    return bool(_live()) or not AiProvider.all_objects.exists()


def known_port() -> int:
    """Return the port that stored rows point at, 0 when there is none."""
    return next((_port(row.base_url) for row in _live()), 0)


@transaction.atomic
def register(url: str) -> None:
    """Store the demo rows, or point those that are stored at this address."""
    if not AiProvider.all_objects.exists():
        for name, kind, path in _ROWS:
            row = create_provider(name, kind, url + path, (DEMO_KEY,), trusted=True)
            row.display_name = f"Demo ({kind.label} API)"
            row.save(update_fields=["display_name"])
        return
    paths = {name: path for name, _, path in _ROWS}
    for row in _live():
        if row.base_url != url + paths[row.name]:
            row.base_url = url + paths[row.name]
            row.save(update_fields=["base_url", "updated_at"])


def _live() -> list[AiProvider]:
    """Return demo rows that an administrator has not pointed elsewhere."""
    rows = AiProvider.objects.filter(name__in=[name for name, _, _ in _ROWS])
    return [row for row in rows if _port(row.base_url)]


def _port(url: str) -> int:
    parts = urlsplit(url)
    return (parts.port or 0) if parts.hostname == _HOST else 0

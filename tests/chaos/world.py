"""A node with its database and its provider, all thrown away afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.plans import KEYS, answer
from tests.live.gateway import Gateway
from tests.postgres import Cluster
from tests.upstream import FakeUpstream

SWEEP_SECONDS = 3
# A crash of the database must not lose what it said is committed.
_DURABLE = "-c synchronous_commit=on"


@dataclass(frozen=True)
class World:
    """``providers`` maps the APIs to the names of the providers that serve them."""

    cluster: Cluster
    gateway: Gateway
    upstream: FakeUpstream
    data: Path
    providers: dict[str, str]
    token: str


@contextmanager
def made(workers: int) -> Iterator[World]:
    """Make a world and let Django of this process see its database."""
    data = Path(tempfile.mkdtemp(prefix="aibridge-chaos-"))
    cluster = Cluster(_DURABLE).start()
    try:
        url = cluster.create("chaos")
        _set_up_django(url, data)
        with FakeUpstream() as upstream:
            upstream.answer_with(answer)
            providers, token = _fill(upstream)
            _close_connection()
            with Gateway(
                url,
                data,
                workers=workers,
                AIBRIDGE_SWEEP_SECONDS=SWEEP_SECONDS,
                AIBRIDGE_LOG_LEVEL="WARNING",
            ) as gateway:
                yield World(cluster, gateway, upstream, data, providers, token)
    finally:
        cluster.destroy()
        shutil.rmtree(data, ignore_errors=True)


def _set_up_django(url: str, data: Path) -> None:
    os.environ |= {
        "DATABASE_URL": url,
        "AIBRIDGE_DATA_DIR": str(data),
        "AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS": "True",
        "AIBRIDGE_LOG_LEVEL": "WARNING",
        "DEBUG": "True",
        "DJANGO_SETTINGS_MODULE": "aibridge_site.settings",
    }
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _fill(upstream: FakeUpstream) -> tuple[dict[str, str], str]:
    from django.contrib.auth import get_user_model

    from proxy.actors import issue_token

    user = get_user_model().objects.create_user("chaos")
    claude = _provider("claude", "anthropic", upstream.url)
    gpt = _provider("gpt", "openai", f"{upstream.url}/v1")
    providers = {"messages": claude, "chat": gpt, "responses": gpt}
    return providers, issue_token(user, "chaos")[1]


def _close_connection() -> None:
    """Let go of a connection that would not outlive the database."""
    from django.db import connection

    connection.close()


def _provider(name: str, kind: str, base_url: str) -> str:
    from providers.keystate import add_key
    from providers.models import AiProvider

    provider = AiProvider.objects.create(
        name=name, kind=kind, base_url=base_url, probe_interval=1
    )
    for key in KEYS:
        add_key(provider, key, "")
    return name

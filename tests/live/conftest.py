"""Fixtures of tests that run against real servers.

They have a database of their own, which lives as long as the test session: a server
must not lose its rows because some other test empties the tables.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from interceptions.models import Interception
from providers.keystate import add_key
from providers.models import AiProvider
from proxy.actors import issue_token
from tests.live.gateway import Gateway
from tests.live.tooling import mcp_url, offer_tools  # noqa: F401
from tests.postgres import free_port
from tests.upstream import FakeUpstream

_names = itertools.count(1)
_past: list[UUID] = []


def database_url(name: str) -> str:
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    base = os.environ["DATABASE_URL"].rpartition("/")[0]
    return f"{base}/{name}"


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def live_database(
    django_db_setup: None, django_db_blocker, data_dir: Path
) -> Iterator[str]:
    """Create a migrated database; yield its name."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    sqlite = connection.vendor == "sqlite"
    name = str(data_dir / "live.sqlite3") if sqlite else f"live_{worker or 'main'}"
    original = connection.settings_dict["NAME"]
    with django_db_blocker.unblock():
        if not sqlite:
            with connection._nodb_cursor() as cursor:
                cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                cursor.execute(f'CREATE DATABASE "{name}"')
        connection.close()
        connection.settings_dict["NAME"] = name
        call_command("migrate", verbosity=0)
        connection.close()
        connection.settings_dict["NAME"] = original
    return name


@pytest.fixture
def live_db(live_database: str, django_db_blocker) -> Iterator[str]:
    """Point the ORM of this test at the servers' database; yield its URL."""
    original = connection.settings_dict["NAME"]
    with django_db_blocker.unblock():
        connection.close()
        connection.settings_dict["NAME"] = live_database
        yield database_url(live_database)
        connection.close()
        connection.settings_dict["NAME"] = original


@pytest.fixture(scope="session")
def secrets_of_servers() -> dict[str, str]:
    """Return settings that this process and its servers must agree on."""
    return {
        "AIBRIDGE_ENCRYPTION_KEYS": ",".join(settings.AIBRIDGE_ENCRYPTION_KEYS),
        "SECRET_KEY": settings.SECRET_KEY,
    }


@pytest.fixture
def start_gateway(
    live_db: str, data_dir: Path, secrets_of_servers: dict[str, str]
) -> Iterator[Callable[..., Gateway]]:
    """Return a function that starts a node of its own; all are stopped afterwards."""
    started: list[Gateway] = []

    def start(**options: object) -> Gateway:
        node = Gateway(live_db, data_dir, **(secrets_of_servers | options))
        started.append(node)
        return node.start()

    yield start
    for node in started:
        node.stop()


@pytest.fixture(scope="session")
def shared_gateway(
    live_database: str, data_dir: Path, secrets_of_servers: dict[str, str]
) -> Iterator[Gateway]:
    """Start the node that tests without special settings share.

    It looks for changes every ten minutes only: what it knows sooner it was told.
    """
    url = database_url(live_database)
    options = secrets_of_servers | {"AIBRIDGE_RESYNC_SECONDS": "600"}
    with Gateway(url, data_dir, port=free_port(), **options) as node:
        yield node


@pytest.fixture
def gateway(shared_gateway: Gateway, live_db: str) -> Gateway:
    """Return the shared node, with the ORM pointed at its database."""
    return shared_gateway


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def make_user(live_db: str) -> Callable[..., object]:
    """Return a function that creates a user, in a role when one is named."""

    def make(role: str = "", **fields: object):
        name = f"user-{os.getpid()}-{next(_names)}"
        user = get_user_model().objects.create_user(name, **fields)
        if role:
            user.groups.add(Group.objects.get(name=role))
            user.is_staff = True
            user.save()
        return user

    return make


@pytest.fixture
def token(make_user) -> str:
    """Return the text of a fresh member's gateway token."""
    return issue_token(make_user(), "test")[1]


@pytest.fixture
def make_provider(
    live_db: str, upstream: FakeUpstream
) -> Iterator[Callable[..., AiProvider]]:
    """Return a function that creates a provider with keys that points at upstream.

    All in one transaction: nobody hears of the provider without its keys. Those of
    tests that are over go with it, since each change makes workers read all there are.
    """
    made: list[UUID] = []

    @transaction.atomic
    def make(kind: str = "anthropic", keys: tuple[str, ...] = ("key-a",), **fields):
        AiProvider.objects.filter(pk__in=_past).update(deleted_at=timezone.now())
        _past.clear()
        provider = AiProvider.objects.create(
            name=f"{kind}-{os.getpid()}-{next(_names)}",
            kind=kind,
            base_url=fields.pop("base_url", upstream.url),
            **fields,
        )
        made.append(provider.pk)
        for secret in keys:
            add_key(provider, secret, "")
        return provider

    yield make
    _past.extend(made)


@pytest.fixture
def wait_served(token: str) -> Callable[[Gateway, AiProvider], None]:
    """Return a function that waits until all of a node has heard of a provider."""

    def wait(node: Gateway, provider: AiProvider) -> None:
        url = f"{node.url}/aibridge/{provider.name}/no-such-route"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"})
            if "route not supported" in answer.text:
                # Who answered has heard of it; the others have a second to do so.
                time.sleep(1 if len(node.workers()) > 1 else 0)
                return
            time.sleep(0.02)
        raise AssertionError(answer.text)

    return wait


@pytest.fixture
def served(gateway: Gateway, make_provider, wait_served) -> Callable[..., AiProvider]:
    """Return a function that makes a provider and waits until the node serves it."""

    def serve(kind: str, keys: tuple[str, ...] = ("key-a",), **fields) -> AiProvider:
        provider = make_provider(kind, keys, **fields)
        wait_served(gateway, provider)
        return provider

    return serve


@pytest.fixture
def wait_ended(live_db: str) -> Callable[[object], Interception]:
    """Return a function that waits for an interception's end and returns its row."""

    def wait(pk: object) -> Interception:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            row = Interception.objects.get(pk=pk)
            if row.ended_at is not None:
                return row
            time.sleep(0.02)
        raise AssertionError("the interception did not end")

    return wait

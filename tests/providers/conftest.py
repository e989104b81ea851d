"""Rows that tests of providers start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from providers import keystate
from providers.models import AiProvider, ApiKey
from providers.registry import Registry
from tests.upstream import FakeUpstream


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def make_provider() -> Callable[..., AiProvider]:
    """Return a function that stores a provider and its keys, first key first."""

    def make(name: str = "main", *secrets: str, **fields: object) -> AiProvider:
        values = {"kind": "anthropic", "base_url": "https://api.anthropic.com"} | fields
        provider = AiProvider.objects.create(name=name, **values)
        for secret in secrets:
            keystate.add_key(provider, secret)
        return provider

    return make


@pytest.fixture
def key_row() -> Callable[[str], ApiKey]:
    """Return a function that reads the only key with a hint of this secret."""
    return lambda secret: next(
        row for row in ApiKey.objects.all() if row.secret == secret
    )


@pytest.fixture
def registry() -> Iterator[Registry]:
    """Yield a registry of the test's own; ``reload`` it to hear of changes."""
    yield Registry()
    # The thread that stores marks must be done before the tables are emptied.
    keystate.flush()

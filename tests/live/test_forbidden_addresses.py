"""Names that lead to private addresses are refused when a connection is made."""

from __future__ import annotations

import socket

import pytest

from tests.live.apis import MESSAGES
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live


def private_name() -> str:
    """Return a name, no literal address, that resolves to a private address."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, 80)
    except OSError:
        pytest.skip("this machine's name does not resolve")
    return name


def test_a_name_is_checked_where_it_leads(
    start_gateway, make_provider, wait_served, token, upstream: FakeUpstream
):
    node = start_gateway(
        DEBUG="False",
        AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS="False",
        AIBRIDGE_ALLOW_LOOPBACK_UPSTREAMS="False",
    )
    provider = make_provider(base_url=f"http://{private_name()}:{upstream.port}")
    wait_served(node, provider)
    answer = MESSAGES.call(node.url, provider.name, token)
    assert answer.status_code == 502
    assert "points at a private address" in answer.text
    assert not upstream.requests

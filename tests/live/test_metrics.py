"""What operators can count, and that no label names a person or a key."""

from __future__ import annotations

import httpx
import pytest

from tests.live.apis import MESSAGES
from tests.live.gateway import Gateway
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live


def counters_of(gateway: Gateway, provider: str) -> dict[str, float]:
    text = httpx.get(f"{gateway.url}/metrics").text
    lines = [line for line in text.splitlines() if f'provider="{provider}"' in line]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_interceptions_tokens_prompts_and_failovers_are_counted(
    gateway: Gateway, upstream: FakeUpstream, served, token
):
    upstream.script("k0", 429, {"retry-after": "60"}).script("k1", fixture="simple")
    provider = served("anthropic", ("k0", "k1"))
    MESSAGES.call(gateway.url, provider.name, token)
    counters = counters_of(gateway, provider.name)

    def total(name: str, *labels: str) -> float:
        return sum(
            value
            for line, value in counters.items()
            if line.startswith(f"aibridge_{name}{{") and all(x in line for x in labels)
        )

    assert total("interceptions_total", 'outcome="completed"', 'error_type=""') == 1
    assert total("interceptions_inflight") == 0
    assert total("prompts_total") == 1
    assert total("tokens_total", 'type="output"') > 0
    assert total("key_pool_state_transitions_total", 'reason="rate_limited"') == 1
    assert total("key_pool_failover_attempts_sum") == 2
    assert "k0" not in "".join(counters)
    assert token not in "".join(counters)


def test_exhausted_pool_is_counted(gateway, upstream: FakeUpstream, served, token):
    upstream.script("only", 401)
    provider = served("anthropic", ("only",))
    MESSAGES.call(gateway.url, provider.name, token)
    counters = counters_of(gateway, provider.name)
    name = (
        'aibridge_key_pool_exhaustions_total{outcome="auth_failed",'
        f'provider="{provider.name}"}}'
    )
    assert counters[name] == 1

"""How many requests this process serves at once, and each token in a second."""

from __future__ import annotations

import time
from collections import Counter
from uuid import UUID

from django.conf import settings

from proxy import errors, exchanges
from proxy.actors import Actor


class TokenRates:
    """Counts each token's requests in the running second."""

    def __init__(self) -> None:
        self._second = 0
        self._counts: Counter[UUID] = Counter()

    def count(self, token: UUID, now: float) -> int:
        """Count one more request and return how many there were this second."""
        if int(now) != self._second:
            self._second = int(now)
            self._counts.clear()
        self._counts[token] += 1
        return self._counts[token]


_rates = TokenRates()


def admit(actor: Actor) -> None:
    """Refuse a request beyond AIBRIDGE_MAX_CONCURRENCY or AIBRIDGE_RATE_LIMIT.

    Both count for this process; 0 means no limit. Raises AtCapacity or
    TooManyRequests.
    """
    most = settings.AIBRIDGE_MAX_CONCURRENCY
    if most and exchanges.count() >= most:
        raise errors.AtCapacity("the gateway is at capacity, try again")
    rate = settings.AIBRIDGE_RATE_LIMIT
    if rate and _rates.count(actor.token_id, time.time()) > rate:
        raise errors.TooManyRequests("too many requests with this gateway token")

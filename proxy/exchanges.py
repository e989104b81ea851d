"""The requests this process is serving, so that a shutdown can end and record them."""

from __future__ import annotations

from proxy.watch import ClientWatch

_open: set[Exchange] = set()


class Exchange:
    """One request under way; ``was_cut`` says that a shutdown ended it."""

    __slots__ = ("_watch", "was_cut")

    def __init__(self, watch: ClientWatch) -> None:
        self._watch = watch
        self.was_cut = False

    def close(self) -> None:
        """Say that it is over; may be called again."""
        self._watch.stop()
        _open.discard(self)

    def cut(self) -> None:
        """End it now: its upstream call is aborted and its record says why."""
        self.was_cut = True
        self._watch.cut()


def opened(watch: ClientWatch) -> Exchange:
    """Note a request whose client is watched from now on."""
    exchange = Exchange(watch)
    _open.add(exchange)
    watch.start()
    return exchange


def count() -> int:
    """Return how many requests are under way."""
    return len(_open)


def cut_all() -> int:
    """Cut every request under way and return how many there were."""
    under_way = list(_open)
    for exchange in under_way:
        exchange.cut()
    return len(under_way)

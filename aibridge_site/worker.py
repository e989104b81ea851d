"""gunicorn's gevent worker, except that idle connections do not delay its end.

Knows connections, not requests: what is under way is ended by ``proxy.lifecycle``.
"""

from __future__ import annotations

import time

import gevent
from gunicorn.workers.ggevent import GeventWorker

_STEP_SECONDS = 0.2
# A client that was let in a moment ago may be about to send its request.
_IDLE_SECONDS = 1.0


class Worker(GeventWorker):
    """Closes the connections that wait for a next request when it is told to stop."""

    def run(self) -> None:
        self._waits: set[_Wait] = set()
        gevent.spawn(self._dismiss)
        super().run()

    def timeout_ctx(self) -> gevent.Timeout:
        return _Wait(self.cfg.keepalive, self._waits)

    def _dismiss(self) -> None:
        while self.alive:
            gevent.sleep(_STEP_SECONDS)
        while True:
            now = time.monotonic()
            for wait in [wait for wait in self._waits if wait.is_idle(now)]:
                wait.end()
            gevent.sleep(_STEP_SECONDS)


class _Wait(gevent.Timeout):
    """A connection's wait for its next request; it ends silently."""

    def __init__(self, seconds: float, waits: set[_Wait]) -> None:
        super().__init__(seconds, False)
        self._connection = gevent.getcurrent()
        self._since = time.monotonic()
        self._waits = waits
        waits.add(self)

    def close(self) -> None:
        self._waits.discard(self)
        super().close()

    def is_idle(self, now: float) -> bool:
        return now - self._since >= _IDLE_SECONDS

    def end(self) -> None:
        """End the wait, unless the request comes first."""
        gevent.get_hub().loop.run_callback(self._throw)

    def _throw(self) -> None:
        if self in self._waits:
            self._connection.throw(self)

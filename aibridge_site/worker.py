"""gunicorn's gevent worker, except that nothing idle delays its end.

Knows signals and connections, not requests: what is under way is ended by
``proxy.lifecycle``.
"""

from __future__ import annotations

import os
import signal
import time

import gevent
from gunicorn.workers.ggevent import GeventWorker

_STEP_SECONDS = 0.2
# A client that was let in a moment ago may be about to send its request.
_IDLE_SECONDS = 1.0
_ENDS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}


def hold_signals() -> None:
    """Let a worker that is about to be forked find the signals that end it.

    Until it has handlers of its own it has the master's, which put a signal into a
    queue that nobody reads there; the master would then wait for all of its grace.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)


# The master itself goes on to hear them; without hold_signals this changes nothing.
os.register_at_fork(after_in_parent=_release_signals)


class Worker(GeventWorker):
    """Closes the connections that wait for a next request when it is told to stop."""

    def init_signals(self) -> None:
        super().init_signals()
        _release_signals()

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

"""How this process hears, within a second, that rows changed anywhere.

Database triggers announce a topic (see ``triggers``); one daemon thread, a greenlet
where gevent has patched, hears it and calls the subscribers. It knows topics only, not
what they stand for.

1. PostgreSQL: LISTEN on a connection of its own. SQLite: a poll of the counters.
2. Every topic is delivered after each (re)connect and every AIBRIDGE_RESYNC_SECONDS,
   so that nothing missed stays missed.
3. A subscriber that fails is called again; the listener itself never ends but by
   ``stop``, and what it asks of the default connection is given back after each use.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from django.conf import settings
from django.db import Error, connection, connections

from providers.database import give_back
from providers.triggers import CHANNEL

logger = logging.getLogger(__name__)

Callback = Callable[[], None]

_LONGEST_BACKOFF = 1.0
_LONGEST_WAIT = 0.5
_LONGEST_REST = 0.2


class _Source(Protocol):
    """Where topics are heard."""

    def open(self) -> None:
        """Start hearing; what changes from now on is not missed."""

    def wait(self, seconds: float) -> set[str]:
        """Return the topics heard, at the latest after so many seconds."""

    def close(self) -> None:
        """Let go of the connection; never raises."""


class PostgresSource:
    """LISTEN on an autocommit connection outside Django's pool."""

    def __init__(self) -> None:
        self._connection: Any = None

    def open(self) -> None:
        import psycopg

        # A connection that died without a word is noticed by these, not by silence.
        keepalives = {
            "keepalives_idle": 2,
            "keepalives_interval": 1,
            "keepalives_count": 2,
            "tcp_user_timeout": 4000,
        }
        parameters = keepalives | connection.get_connection_params()
        parameters["cursor_factory"] = psycopg.Cursor
        self._connection = psycopg.connect(**parameters, autocommit=True)
        self._connection.execute(f"LISTEN {CHANNEL}")

    def wait(self, seconds: float) -> set[str]:
        heard = self._connection.notifies(timeout=seconds, stop_after=1)
        return {notification.payload for notification in heard}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SqliteSource:
    """A poll of the counters that triggers raise.

    Django's connection of this thread stays open between polls: if the last connection
    to the file closed three times a second, each time would be a checkpoint.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._seen: dict[str, int] = {}

    def open(self) -> None:
        self._seen = self._read()

    def wait(self, seconds: float) -> set[str]:
        self._stopping.wait(min(seconds, settings.AIBRIDGE_POLL_SECONDS))
        now = self._read()
        changed = {topic for topic in now if now[topic] != self._seen.get(topic)}
        self._seen = now
        return changed

    def close(self) -> None:
        connection.close()

    def _read(self) -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT topic, value FROM providers_revision")
            return dict(cursor.fetchall())


class Listener:
    """Hears topics in a thread of its own and tells the subscribers."""

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callback]] = {}
        self._failing: set[Callback] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._live = False

    def subscribe(self, topic: str, callback: Callback) -> None:
        """Call back, in the listener's thread, whenever the topic changed.

        The callback may query; it must be idempotent and is called again soon when it
        raises. Subscribing the same callback twice changes nothing.
        """
        with self._lock:
            callbacks = self._callbacks.setdefault(topic, [])
            if callback not in callbacks:
                callbacks.append(callback)

    def start(self) -> None:
        """Start hearing, once per process (again after a fork)."""
        with self._lock:
            if self._thread and self._thread.is_alive() and self._pid == os.getpid():
                return
            self._stopping = threading.Event()
            self._pid = os.getpid()
            self._thread = threading.Thread(
                target=self._run, args=(self._stopping,), name="changes", daemon=True
            )
            self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread and wait for it, at most so many seconds."""
        thread, self._thread = self._thread, None
        self._stopping.set()
        if thread is not None and self._pid == os.getpid():
            thread.join(timeout)

    def is_live(self) -> bool:
        """Whether changes are heard now; while not, caches must age by the clock."""
        return self._live and self._pid == os.getpid()

    def _run(self, stopping: threading.Event) -> None:
        backoff = 0.1
        while not stopping.is_set():
            session = _Session(self, stopping)
            try:
                session.hear()
            except Exception as error:
                # Whatever broke, a gateway that no longer hears of changes would go
                # on with revoked tokens: try again, for ever.
                self._live = False
                logger.warning("changes not heard", extra={"error": str(error)})
            finally:
                self._live = False
                session.close()
            backoff = 0.1 if session.was_live else min(backoff * 2, _LONGEST_BACKOFF)
            stopping.wait(backoff)

    def topics(self) -> set[str]:
        """Return the topics that somebody subscribed to."""
        with self._lock:
            return set(self._callbacks)

    def set_live(self) -> None:
        """Note that changes are heard again."""
        if not self._live:
            logger.info("changes heard")
        self._live = True

    def deliver(self, topics: Iterable[str]) -> set[str]:
        """Call each subscriber of the topics once; return topics that one failed at."""
        done: dict[Callback, bool] = {}
        failed = set()
        for topic in sorted(topics):
            for callback in self._subscribers(topic):
                if callback not in done:
                    done[callback] = self._call(topic, callback)
                if not done[callback]:
                    failed.add(topic)
        return failed

    def _subscribers(self, topic: str) -> list[Callback]:
        with self._lock:
            return list(self._callbacks.get(topic, ()))

    def _call(self, topic: str, callback: Callback) -> bool:
        try:
            callback()
        except Exception:
            # One subscriber's trouble must not keep the others uninformed.
            if callback not in self._failing:
                logger.exception("change not taken over", extra={"topic": topic})
            self._failing.add(callback)
            return False
        self._failing.discard(callback)
        return True


class _Session:
    """One connection's life: from open to the error or stop that ends it."""

    def __init__(self, listener: Listener, stopping: threading.Event) -> None:
        self.was_live = False
        self._listener = listener
        self._stopping = stopping
        self._is_sqlite = connection.vendor == "sqlite"
        self._source: _Source = (
            SqliteSource(stopping) if self._is_sqlite else PostgresSource()
        )

    def hear(self) -> None:
        self._source.open()
        self._listener.set_live()
        self.was_live = True
        owed: set[str] = self._listener.topics()
        resync_at = time.monotonic() + settings.AIBRIDGE_RESYNC_SECONDS
        while not self._stopping.is_set():
            owed = self._deliver(owed)
            owed |= self._source.wait(_LONGEST_WAIT)
            if time.monotonic() >= resync_at:
                owed |= self._listener.topics()
                resync_at = time.monotonic() + settings.AIBRIDGE_RESYNC_SECONDS

    def close(self) -> None:
        try:
            self._source.close()
            connections.close_all()
        except Error as error:
            logger.debug("connection not closed", extra={"error": str(error)})

    def _deliver(self, topics: set[str]) -> set[str]:
        if not topics:
            return topics
        started = time.monotonic()
        failed = self._listener.deliver(topics)
        if not self._is_sqlite:
            give_back()
        # However fast changes come, most of the time is left for requests.
        rest = 4 * (time.monotonic() - started)
        self._stopping.wait(min(rest, _LONGEST_REST))
        return failed


_listener = Listener()
subscribe = _listener.subscribe
start = _listener.start
stop = _listener.stop
is_live = _listener.is_live

"""What a worker process starts when it begins to serve, and ends when it stops.

The server's hooks call ``start`` and ``stop``; nothing else does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.db import DatabaseError

from interceptions import feed, recorder
from providers import changes, keystate, probe, registry
from providers.database import give_back
from providers.validators import refuse_forbidden_ip
from proxy import actors, catalogue, exchanges, upstream

logger = logging.getLogger(__name__)

_HOUSEKEEPING_SECONDS = 30.0
_DRAIN_MARGIN_SECONDS = 4.0
_DRAIN_STEP_SECONDS = 0.2

_stopping = threading.Event()


def start() -> None:
    """Load providers, listen for changes, begin to record and to keep house.

    A database that is away delays nothing: what needs it is tried again until it is
    back, and readiness says so meanwhile.
    """
    _stopping.clear()
    guarded = upstream.GeventTransport(resolve_guard=refuse_forbidden_ip)
    upstream.set_transport(guarded)
    actors.start()
    registry.start()
    changes.start()
    recorder.begin_worker()
    feed.start()
    probe.start()
    catalogue.start()
    _spawn(_keep_house, "housekeeping")


def stop() -> None:
    """Store what is still in memory; blocks until it is stored or journaled."""
    _stopping.set()
    probe.stop()
    catalogue.stop()
    changes.stop()
    keystate.flush()
    recorder.end_worker()


def drain(is_serving: Callable[[], bool], graceful_seconds: float) -> None:
    """Wait for the worker to be told to stop, then cut what outlasts its grace.

    Streams that end in time end by themselves. The others are cut shortly before the
    server would kill them, so that they are recorded and their clients told.
    """
    _spawn(lambda: _drain(is_serving, graceful_seconds), "drain")


def _drain(is_serving: Callable[[], bool], graceful_seconds: float) -> None:
    while is_serving():
        time.sleep(_DRAIN_STEP_SECONDS)
    feed.close_all()
    deadline = time.monotonic() + max(0.0, graceful_seconds - _DRAIN_MARGIN_SECONDS)
    while exchanges.count() and time.monotonic() < deadline:
        time.sleep(_DRAIN_STEP_SECONDS)
    if cut := exchanges.cut_all():
        logger.warning("requests cut by shutdown", extra={"requests": cut})


def _keep_house() -> None:
    while not _stopping.wait(_HOUSEKEEPING_SECONDS):
        try:
            actors.store_last_used()
        except DatabaseError:
            logger.warning("last use of tokens not stored")
        finally:
            give_back()


def _spawn(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=f"aibridge-{name}", daemon=True).start()

"""What operators and load balancers ask: is it up, is it ready, what did it count.

Knows nothing of people: answers need neither a login nor a matching Host header.
"""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Callable
from functools import cache

import gevent
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from providers import registry
from providers.database import give_back

logger = logging.getLogger(__name__)

# Shorter than the pool's patience: a probe wants an answer, not a connection.
_PATIENCE_SECONDS = 2.0


class MigrationsMissing(Exception):
    """The database lacks tables or columns of this version."""


class Probes:
    """Middleware: answers the paths of ``DOORS`` before hosts and people matter."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return DOORS.get(request.path_info, self.get_response)(request)


def alive(request: HttpRequest) -> HttpResponse:
    """Say that this process answers."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> HttpResponse:
    """Say whether requests can be served: 200, or 503 with the check that fails."""
    checks = {"database": _database(), "providers": _providers()}
    is_ready = all(state == "ok" for state in checks.values())
    return JsonResponse(
        {"status": "ok" if is_ready else "unavailable", "checks": checks},
        status=200 if is_ready else 503,
    )


def metrics(request: HttpRequest) -> HttpResponse:
    """Return the counters of all workers of this node in Prometheus' text format.

    With AIBRIDGE_METRICS_TOKEN set, only to who shows it as a bearer token.
    """
    from prometheus_client import (
        CONTENT_TYPE_LATEST,
        REGISTRY,
        CollectorRegistry,
        generate_latest,
        multiprocess,
    )

    if not _may_read_metrics(request.headers.get("Authorization", "")):
        return JsonResponse({"message": "a metrics token is needed"}, status=401)
    collected = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        collected = CollectorRegistry()
        multiprocess.MultiProcessCollector(collected)
    return HttpResponse(generate_latest(collected), content_type=CONTENT_TYPE_LATEST)


DOORS: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {
    "/healthz": alive,
    "/readyz": ready,
    "/metrics": metrics,
}


def _database() -> str:
    try:
        with gevent.Timeout(_PATIENCE_SECONDS, DatabaseError("no answer in time")):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            _require_migrations()
    except MigrationsMissing:
        return "migrations are not applied"
    except DatabaseError as error:
        logger.warning("database not reachable", extra={"reason": type(error).__name__})
        return "not reachable"
    finally:
        give_back()
    return "ok"


def _providers() -> str:
    return "ok" if registry.ready else "not loaded"


@cache
def _require_migrations() -> None:
    """Raise MigrationsMissing; that they are applied is asked only until it is so."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise MigrationsMissing


def _may_read_metrics(authorization: str) -> bool:
    expected = settings.AIBRIDGE_METRICS_TOKEN
    shown = authorization.removeprefix("Bearer ")
    return not expected or hmac.compare_digest(shown.encode(), expected.encode())

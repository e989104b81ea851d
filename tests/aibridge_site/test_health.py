"""Probes: what operators and load balancers are told, and when."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder

from aibridge_site import health
from providers import registry
from proxy.metrics import prompts_total


@pytest.fixture(autouse=True)
def fresh():
    """Forget that the migrations were seen to be applied."""
    health._require_migrations.cache_clear()
    yield
    health._require_migrations.cache_clear()


def test_alive_needs_no_database_and_no_matching_host(client):
    answer = client.get("/healthz", headers={"host": "10.1.2.3"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_ready_once_database_migrations_and_providers_are(client):
    registry.reload()
    answer = client.get("/readyz", headers={"host": "10.1.2.3"})
    assert answer.status_code == 200
    assert answer.json()["checks"] == {"database": "ok", "providers": "ok"}


@pytest.mark.django_db
def test_not_ready_while_a_migration_is_missing(client):
    recorder = MigrationRecorder(connection)
    recorder.migration_qs.filter(app="proxy").order_by("-id").first().delete()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == "migrations are not applied"
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_not_ready_while_the_database_does_not_answer(client):
    def refuse(*_: object) -> None:
        raise DatabaseError("secret details")

    with connection.execute_wrapper(refuse):
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == "not reachable"
    assert b"secret" not in answer.content


def test_metrics_are_prometheus_text(client):
    prompts_total.labels("claude", "m", "Codex").inc()
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    assert "# TYPE aibridge_prompts_total counter" in answer.text
    assert 'aibridge_prompts_total{client="Codex",model="m"' in answer.text


def test_metrics_may_ask_for_a_token(client, settings):
    settings.AIBRIDGE_METRICS_TOKEN = "let-me-in"
    assert client.get("/metrics").status_code == 401
    wrong = {"authorization": "Bearer let-me-out"}
    assert client.get("/metrics", headers=wrong).status_code == 401
    right = {"authorization": "Bearer let-me-in"}
    assert client.get("/metrics", headers=right).status_code == 200

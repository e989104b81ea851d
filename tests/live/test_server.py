"""The server as gunicorn.conf.py sets it up: headers, metrics, logs, start and end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import pytest
from django.test import Client
from django.utils import timezone

from interceptions.models import Interception, Session
from tests.live.gateway import ROOT, Gateway
from tests.postgres import Cluster

pytestmark = pytest.mark.live

BODY = {
    "model": "gpt-5.5",
    "input": [{"role": "user", "content": "Hello"}],
}


@pytest.fixture
def ask(served, token) -> Callable[..., httpx.Response]:
    """Return a function that asks a node's Responses API."""
    provider = served("openai")

    def ask(node: Gateway, **headers: str) -> httpx.Response:
        url = f"{node.url}/aibridge/{provider.name}/v1/responses"
        sent = {"Authorization": f"Bearer {token}"} | headers
        return httpx.post(url, json=BODY, headers=sent, timeout=30)

    return ask


def _recorded(answer: httpx.Response) -> Interception:
    return Interception.objects.get(pk=answer.headers["x-aibridge-interception-id"])


def test_codex_header_with_an_underscore_reaches_the_record(gateway, ask):
    answer = ask(gateway, **{"session_id": "s-old", "User-Agent": "codex_exec/0.9"})
    assert _recorded(answer).client_session_id == "s-old"


def test_other_headers_with_underscores_are_dropped(gateway, ask):
    # With a hyphen this is the governance header, which would ask for BYOK.
    assert ask(gateway, x_aibridge_token="aib_00_nothing").status_code == 200


def test_header_of_sixteen_kilobytes_passes(gateway, ask):
    assert ask(gateway, **{"X-Long": "x" * 16_000}).status_code == 200


def test_client_cannot_claim_another_scheme_or_path(gateway, ask):
    claims = {"X-Forwarded-Proto": "https", "SCRIPT_NAME": "/aibridge"}
    assert ask(gateway, **claims).status_code == 200


def test_counters_of_both_workers_add_up_and_survive_one_of_them(start_gateway, ask):
    node = start_gateway(workers=2)
    for _ in range(12):
        assert ask(node).status_code == 200
    assert _interceptions_counted(node) == 12
    subprocess.run(["kill", "-9", str(node.workers()[0])], check=True)
    assert _interceptions_counted(node) == 12


def _interceptions_counted(node: Gateway) -> float:
    deadline = time.monotonic() + 20
    while True:
        try:
            text = httpx.get(f"{node.url}/metrics", timeout=5).text
            break
        except httpx.HTTPError:
            assert time.monotonic() < deadline
    found = re.findall(r"^aibridge_interceptions_total{.*} (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))


SLOW_TO_START = f"""
import time
__file__ = {str(ROOT / "gunicorn.conf.py")!r}
exec(compile(open(__file__).read(), __file__, "exec"))
def post_fork(server, worker):
    time.sleep(1)
"""


def test_worker_that_starts_hears_the_end(start_gateway, tmp_path):
    conf = tmp_path / "slow.conf.py"
    conf.write_text(SLOW_TO_START)
    node = start_gateway(conf=conf)
    before = node.workers()
    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while node.workers() in (before, []):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # Raises when the worker does not end.
    node.stop()


def test_idle_connection_does_not_delay_the_end(start_gateway):
    node = start_gateway()
    with httpx.Client(base_url=node.url) as client:
        assert client.get("/healthz").status_code == 200
        started = time.monotonic()
        node.stop()
    assert time.monotonic() - started < 10


def test_open_page_of_a_session_does_not_delay_the_end(start_gateway, make_user):
    node = start_gateway()
    reader, now = make_user("Auditors"), timezone.now()
    session = Session.objects.create(
        initiator=reader, session_id="open", started_at=now, last_active_at=now
    )
    browser = Client()
    browser.force_login(reader)
    cookies = {name: cookie.value for name, cookie in browser.cookies.items()}
    url = f"{node.url}/admin/interceptions/session/{session.pk}/live/"
    with httpx.stream("GET", url, cookies=cookies, timeout=30) as feed:
        assert next(feed.iter_raw()) == b"retry: 2000\n\n"
        started = time.monotonic()
        node.stop()
    assert time.monotonic() - started < 10


def test_json_logs_are_json_throughout(start_gateway):
    node = start_gateway(AIBRIDGE_LOG_FORMAT="json")
    node.stop()
    entries = [json.loads(line) for line in node.output().splitlines()]
    assert {"Shutting down: Master"} <= {entry["event"] for entry in entries}


def test_requests_are_not_logged_one_by_one(gateway, ask):
    before = gateway.output()
    ask(gateway)
    assert gateway.output() == before


@pytest.mark.postgres
def test_server_starts_and_recovers_when_the_database_is_away(data_dir, tmp_path):
    cluster = Cluster().start()
    try:
        url = cluster.create("away")
        node = Gateway(url, tmp_path)
        _migrate(node)
        cluster.stop()
        node.start(ready=False)
        _until(lambda: _readiness(node) == (503, "not reachable"))
        cluster.start()
        _until(lambda: _readiness(node) == (200, "ok"))
        cluster.stop()
        _until(lambda: _readiness(node) == (503, "not reachable"))
        node.stop()
    finally:
        cluster.destroy()


def _migrate(node: Gateway) -> None:
    command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(command, cwd=ROOT, env=node._environment, check=True, timeout=120)


def _readiness(node: Gateway) -> tuple[int, str]:
    try:
        answer = httpx.get(f"{node.url}/readyz", timeout=5)
    except httpx.HTTPError:
        return 0, ""
    return answer.status_code, answer.json()["checks"]["database"]


def _until(done: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_port_in_use_is_said_clearly(start_gateway):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match="Connection in use") as refusal:
            start_gateway(port=port)
    assert "Traceback" not in str(refusal.value)

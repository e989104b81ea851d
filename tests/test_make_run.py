"""``make run``, as a stranger meets it: one command, an answer, and a clean end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.postgres import Cluster, free_port

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parent.parent
UP = "Ctrl-C stops everything."


class MakeRun:
    """``make run`` with a data directory of its own and this interpreter."""

    def __init__(self, data: Path, static: Path, **settings: str) -> None:
        self.data = data
        self.port = int(settings.get("AIBRIDGE_PORT") or free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(data),
            "AIBRIDGE_DATA_DIR": str(data),
            "AIBRIDGE_STATIC_ROOT": str(static),
            "AIBRIDGE_PORT": str(self.port),
            "AIBRIDGE_WORKERS": "1",
            **settings,
        }
        stamps = data / "venv"
        stamps.mkdir(parents=True, exist_ok=True)
        (stamps / "runtime").touch()
        self._out = (data / "out").open("wb+")
        self._err = (data / "err").open("wb+")
        self.started = time.monotonic()
        self.make = subprocess.Popen(
            ["make", "--silent", "run", f"VENV={stamps}", f"PY={sys.executable}"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    @property
    def out(self) -> str:
        return (self.data / "out").read_text()

    @property
    def err(self) -> str:
        return (self.data / "err").read_text()

    def wait_for(self, text: str, seconds: float = 150) -> str:
        """Return stdout once it holds the text."""
        deadline = time.monotonic() + seconds
        while text not in self.out and self.make.poll() is None:
            assert time.monotonic() < deadline, self.out + self.err
            time.sleep(0.05)
        assert text in self.out, self.out + self.err
        return self.out

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal signals its whole foreground group."""
        os.killpg(self.make.pid, signal.SIGINT)
        self.make.wait(60)

    def manage(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=150,
        ).stdout

    def processes(self) -> list[psutil.Process]:
        """Return every process that this run started, wherever it hides."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                mine = process.environ().get("AIBRIDGE_DATA_DIR") == str(self.data)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def wait_until_gone(self, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.1)


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where static files are collected, once for all runs of this module."""
    return tmp_path_factory.mktemp("static")


@pytest.fixture
def make_run(tmp_path: Path, static: Path) -> Iterator[Callable[..., MakeRun]]:
    """Return a function that starts a run; whatever is left of it is killed."""
    started: list[MakeRun] = []

    def start(**settings: str) -> MakeRun:
        started.append(MakeRun(tmp_path, static, **settings))
        return started[-1]

    yield start
    for run in started:
        for process in run.processes():
            process.kill()
        run.make.wait(10)


def _password(text: str) -> str:
    return re.search(r"Password: +(\S+)", text)[1]


def test_first_run_leads_from_the_printed_curl_to_a_record_and_a_login(make_run):
    run = make_run()
    text = run.wait_for(UP)
    (command,) = re.findall(r"curl -N (?:.*\\\n)*.*", text)

    answer = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=60
    ).stdout
    assert answer.startswith("event: message_start")
    assert answer.rstrip().endswith('{"type":"message_stop"}')

    (row,) = json.loads(run.manage("interceptions", "list", "--format", "json"))
    assert row["prompts"][0]["prompt"] == "Hello"
    assert row["outcome"] == "completed"
    assert row["token_usages"][0]["output_tokens"] > 0

    with httpx.Client(base_url=run.url, follow_redirects=True) as browser:
        page = browser.get("/admin/").text
        form = {
            "username": "admin",
            "password": _password(text),
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        assert "password" in page
        assert (
            browser.post("/admin/login/?next=/admin/", data=form).url.path == "/admin/"
        )

    for api in ("messages", "chat", "responses"):
        assert "demo provider" in run.manage("ask", "Hello", "--api", api)

    run.interrupt()
    run.wait_until_gone()


def test_second_run_is_quick_keeps_everything_and_tells_no_secret(make_run):
    first = make_run()
    told = first.wait_for(UP)
    token = re.search(r"aib_[\w-]+", told)[0]
    before = first.manage("providers", "list")
    first.interrupt()
    first.wait_until_gone()

    second = make_run(AIBRIDGE_PORT=str(first.port))
    text = second.wait_for(UP)
    assert time.monotonic() - second.started < 30
    assert token not in text
    assert _secrets_of(told).isdisjoint(text.split())
    assert "tokens create --user admin" in text
    assert second.manage("providers", "list") == before
    asked = second.manage("ask", "still there?", "--token", token)
    assert "still there?" in asked


def _secrets_of(text: str) -> set[str]:
    return {_password(text), *re.findall(r"aib_[\w-]+", text)}


def test_run_that_is_killed_leaves_nothing_behind(make_run):
    run = make_run()
    run.wait_for(UP)
    assert len(run.processes()) >= 5
    os.killpg(run.make.pid, signal.SIGKILL)
    run.make.wait(10)
    run.wait_until_gone()

    run = make_run()
    run.wait_for(UP)
    run.make.kill()
    run.make.wait(10)
    run.wait_until_gone()


def test_second_interrupt_cuts_what_is_under_way(make_run):
    run = make_run(AIBRIDGE_GRACEFUL_SECONDS="120")
    token = re.search(r"aib_[\w-]+", run.wait_for(UP))[0]
    body = {
        "model": "demo",
        "max_tokens": 9,
        "stream": True,
        "messages": [{"role": "user", "content": "word " * 2000}],
    }
    url = f"{run.url}/aibridge/demo-anthropic/v1/messages"
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as answer:
        next(answer.iter_raw())
        os.killpg(run.make.pid, signal.SIGINT)
        run.wait_for("Stopping")
        os.killpg(run.make.pid, signal.SIGINT)
        run.make.wait(20)
    run.wait_until_gone()


def test_taken_port_is_one_clear_line(make_run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run = make_run(AIBRIDGE_PORT=port)
        assert run.make.wait(60) != 0
    first, *rest = run.err.splitlines()
    assert re.fullmatch(
        rf"AI Bridge cannot start: .*AIBRIDGE_PORT={port}: .*in use", first
    )
    assert all(line.startswith("make") for line in rest)
    assert run.out == ""


def test_configured_provider_takes_the_demos_place(make_run):
    run = make_run(OPENAI_API_KEY="sk-canary-0123456789abcdefghij")
    text = run.wait_for(UP)
    assert "/aibridge/openai/v1" in text
    assert not any("demo_provider" in each.cmdline() for each in run.processes())
    listed = json.loads(run.manage("providers", "list", "--format", "json"))
    assert [row["name"] for row in listed] == ["openai"]
    run.interrupt()
    assert "sk-canary" not in run.out + run.err


def test_server_waits_for_a_database_that_is_away(make_run):
    cluster = Cluster()
    try:
        run = make_run(DATABASE_URL=cluster.url())
        _wait(lambda: _status(run) == 503)
        assert run.make.poll() is None
        (line,) = [line for line in run.err.splitlines() if "database" in line][:1]
        assert line.startswith("Starting without a database: the database cannot be")
        cluster.start()
        run.wait_for(UP)
        _wait(lambda: _status(run) == 200)
    finally:
        cluster.destroy()


def _status(run: MakeRun) -> int | None:
    try:
        return httpx.get(f"{run.url}/readyz", timeout=10).status_code
    except httpx.HTTPError:
        return None


def _wait(done: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)

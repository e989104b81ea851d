"""``make run``: prepare what is missing, serve, and stop everything at the end.

1. A wrong setting or a taken port ends the run with one line that names it.
2. A database that is away delays the preparation, not the server: readiness says so.
3. The demo provider runs only while its rows exist, and ends after the server.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection

from aibridge_site.processes import Process
from providers.management.operator import unusable_database

if TYPE_CHECKING:
    from providers.seeds import Seed
    from proxy.bootstrap import FirstRun

_UP_SECONDS = 60.0
_RETRY_SECONDS = 2.0
_STEP_SECONDS = 0.1
_DEMO_SECONDS = 30.0


def main() -> None:
    """Serve until told to stop; exits with a line on stderr when that cannot be."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibridge_site.settings")
    os.chdir(Path(__file__).resolve().parent.parent)
    try:
        django.setup()
        from providers.seeds import read_seeds

        seeds = read_seeds()
        _check_port()
    except ImproperlyConfigured as error:
        sys.exit(f"AI Bridge cannot start: {error}")
    run = Run(seeds)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, run.ask_to_stop)
    _collect_static()
    sys.exit(run.serve())


class Run:
    """One run: the server, the demo provider when it is wanted, and their end."""

    def __init__(self, seeds: list[Seed]) -> None:
        self._seeds = seeds
        self._demo = Demo()
        self._server: Process | None = None
        self._parent = os.getppid()
        self._asked = 0
        self._excused = False

    def ask_to_stop(self, *_: object) -> None:
        """Stop soon; asked again, cut what is under way."""
        self._asked += 1
        if self._asked > 1 and self._server is not None:
            self._server.signal(signal.SIGQUIT)

    def serve(self) -> int:
        """Return the exit status."""
        try:
            text = self._prepare()
            if self._asked:
                return 0
            self._server = self._start_server()
            self._wait_until_up(self._server)
            return self._watch(self._server, text)
        finally:
            self._stop()

    def _prepare(self) -> str:
        """Bring the database up to date; return the welcome, "" when it is away."""
        from proxy import bootstrap
        from proxy.demo import rows

        try:
            call_command("migrate", interactive=False, verbosity=0)
            bootstrap.store_seeds(self._seeds)
            if rows.is_wanted():
                rows.register(self._demo.start(rows.known_port()))
            return _welcome(bootstrap.store_first_admin(), demo=bool(self._demo.url))
        except OperationalError as error:
            self._excuse(error)
            return ""
        except DatabaseError as error:
            sys.exit(f"AI Bridge cannot start: {unusable_database(error)}")
        finally:
            connection.close()

    def _excuse(self, error: OperationalError) -> None:
        if not self._excused:
            reason = unusable_database(error)
            print(f"Starting without a database: {reason}", file=sys.stderr)
        self._excused = True

    def _start_server(self) -> Process:
        # The demo provider is local. While the database is away nobody knows whether
        # it will be wanted.
        local = str(bool(self._demo.url) or (self._excused and not self._seeds))
        return Process(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"],
            {"AIBRIDGE_ALLOW_LOOPBACK_UPSTREAMS": local} | os.environ,
        )

    def _wait_until_up(self, server: Process) -> None:
        deadline = time.monotonic() + _UP_SECONDS
        while self._goes_on(server) and time.monotonic() < deadline and not _is_up():
            time.sleep(_STEP_SECONDS)

    def _watch(self, server: Process, text: str) -> int:
        """Greet once prepared, and return when the run is over."""
        next_try = time.monotonic() + _RETRY_SECONDS
        while self._goes_on(server):
            if text:
                print(f"\n{text}\n\nCtrl-C stops everything.\n", flush=True)
                text, next_try = "", float("inf")
            elif time.monotonic() >= next_try:
                text, next_try = self._prepare(), time.monotonic() + _RETRY_SECONDS
            time.sleep(_STEP_SECONDS)
        return server.status or 0

    def _goes_on(self, server: Process) -> bool:
        orphaned = "MAKELEVEL" in os.environ and os.getppid() != self._parent
        return server.status is None and not self._asked and not orphaned

    def _stop(self) -> None:
        if self._server is not None:
            if self._server.status is None:
                print("Stopping ... (Ctrl-C again cuts what is under way)", flush=True)
            self._server.stop(settings.AIBRIDGE_GRACEFUL_SECONDS + 5)
        self._demo.stop()


class Demo:
    """The local process that answers while there is no real provider."""

    def __init__(self) -> None:
        self.url = ""
        self._process: Process | None = None

    def start(self, port: int) -> str:
        """Return its URL; on this port if it is free, else on another one."""
        for wanted in dict.fromkeys((port, 0)):
            if not self.url:
                self.stop()
                self._process = Process(
                    [sys.executable, "manage.py", "demo_provider", f"--port={wanted}"],
                    os.environ,
                    stdout=subprocess.PIPE,
                )
                self.url = self._process.first_line(_DEMO_SECONDS)
        if not self.url:
            sys.exit("AI Bridge cannot start: the demo provider does not listen")
        return self.url

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(2)


def _check_port() -> None:
    """Raise ImproperlyConfigured when the server could not listen."""
    host, port = settings.AIBRIDGE_HOST, settings.AIBRIDGE_PORT
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ImproperlyConfigured(
            f"AIBRIDGE_HOST={host!r}, AIBRIDGE_PORT={port}: {error.strerror}"
        ) from None


def _collect_static() -> None:
    """Gather what pages need, when that changed since the last time."""
    stamp = settings.STATIC_ROOT / "collected.txt"
    wanted = _static_fingerprint()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    stamp.write_text(wanted)


def _static_fingerprint() -> str:
    digest = hashlib.sha256(str(settings.DEBUG).encode())
    digest.update((settings.BASE_DIR / "requirements.txt").read_bytes())
    for path in sorted(settings.BASE_DIR.glob("*/static/**/*")):
        if path.is_file() and settings.STATIC_ROOT not in path.parents:
            digest.update(str(path.relative_to(settings.BASE_DIR)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_up() -> bool:
    host = settings.AIBRIDGE_HOST
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    server = http.client.HTTPConnection(reachable, settings.AIBRIDGE_PORT, timeout=2)
    try:
        server.request("GET", "/healthz")
        return server.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        server.close()


def _welcome(first: FirstRun, *, demo: bool) -> str:
    from providers.models import AiProvider
    from proxy.welcome import welcome

    rows = list(AiProvider.objects.filter(enabled=True))
    return welcome(settings.AIBRIDGE_PUBLIC_URL, rows, first, demo=demo)


if __name__ == "__main__":
    main()

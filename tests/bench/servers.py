"""The servers under measurement: a fake upstream, nginx, and the gateway itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.postgres import Cluster, free_port

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = Path(__file__).resolve().parent / "src"
TOOLS_CPU, SERVER_CPU = "0", "1"
_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A process group pinned to one CPU, with the CPU time it has used."""

    def __init__(self, name: str, command: list[str], cpu: str, **options) -> None:
        self.name = name
        self.process = subprocess.Popen(
            ["taskset", "-c", cpu, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )

    def cpu_seconds(self) -> float:
        """Return user and system seconds of the process and its children."""
        return sum(_cpu_of(pid) for pid in _family(self.process.pid))

    def memory_mb(self) -> float:
        """Return the proportional set size of the process and its children."""
        return sum(_pss_of(pid) for pid in _family(self.process.pid)) / 1024

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)


def _family(pid: int) -> list[int]:
    found = [pid]
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return found
    for child in children:
        found += _family(int(child))
    return found


def _cpu_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _pss_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) for x in lines if x.startswith("Pss:")), 0)


def build(where: Path) -> None:
    """Compile the load generator and the fake upstream; needs gcc."""
    for name, libraries in (("upstream", ["-lpthread"]), ("loadgen", [])):
        subprocess.run(
            ["gcc", "-O2", "-w", "-o", where / name, SOURCES / f"{name}.c", *libraries],
            check=True,
        )


def start_upstream(where: Path) -> tuple[Server, int]:
    port = free_port()
    server = Server("upstream", [str(where / "upstream"), str(port), "1"], TOOLS_CPU)
    _wait(f"http://127.0.0.1:{port}/__stats")
    return server, port


def start_nginx(where: Path, upstream: int) -> tuple[Server, int] | None:
    """Start nginx as a plain reverse proxy, the yardstick; None when not installed."""
    if shutil.which("nginx") is None:
        return None
    port = free_port()
    config = where / "nginx.conf"
    config.write_text(_NGINX.format(port=port, upstream=upstream, where=where))
    server = Server("nginx", ["nginx", "-c", str(config), "-p", str(where)], SERVER_CPU)
    _wait(f"http://127.0.0.1:{port}/__stats")
    return server, port


_NGINX = """
daemon off; worker_processes 1; pid {where}/nginx.pid; error_log {where}/nginx.err;
user root; worker_rlimit_nofile 20000;
events {{ worker_connections 10000; }}
http {{
  access_log off; client_body_temp_path {where}/nginx-body;
  proxy_temp_path {where}/nginx-proxy; client_max_body_size 64m;
  client_body_buffer_size 1m;
  keepalive_requests 1000000;
  upstream u {{ server 127.0.0.1:{upstream}; keepalive 512;
    keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://u; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""


@contextmanager
def gateway(where: Path, upstream: int) -> Iterator[tuple[Server, int, str]]:
    """Run a one-worker gateway on PostgreSQL; yield it, its port and a token."""
    cluster = Cluster("-c fsync=on -c synchronous_commit=on").start()
    port = free_port()
    environment = os.environ | {
        "DATABASE_URL": cluster.create("bench"),
        "AIBRIDGE_DATA_DIR": str(where / "data"),
        "AIBRIDGE_PORT": str(port),
        "AIBRIDGE_WORKERS": "1",
        "AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS": "True",
        "AIBRIDGE_LOG_LEVEL": "WARNING",
    }
    try:
        token = _prepare(environment, upstream)
        server = Server(
            "gateway",
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"],
            SERVER_CPU,
            cwd=ROOT,
            env=environment,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/readyz")
            yield server, port, token
        finally:
            server.stop()
    finally:
        cluster.destroy()


def _prepare(environment: dict[str, str], upstream: int) -> str:
    def manage(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    base = f"http://127.0.0.1:{upstream}"
    manage("migrate", "--verbosity", "0")
    manage("providers", "add", "ant", "--kind", "anthropic", "--base-url", base,
           "--key", "bench-key")  # fmt: skip
    manage("providers", "add", "oai", "--kind", "openai", "--base-url", f"{base}/v1",
           "--key", "bench-key")  # fmt: skip
    manage("users", "add", "bench", "--role", "member")
    return manage("tokens", "create", "--user", "bench", "--name", "bench")


def _wait(url: str, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer")

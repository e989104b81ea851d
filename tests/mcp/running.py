"""Starts MCP servers as subprocesses, of today's protocol era and of the one before."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.postgres import free_port

SCRIPT = Path(__file__).with_name("server.py")
OLD_PACKAGE = "mcp==1.30.0"


@contextlib.contextmanager
def running_server(
    *options: str, python: str = sys.executable, port: int | None = None
) -> Iterator[str]:
    """Run a server and yield its URL."""
    port = port or free_port()
    process = subprocess.Popen(
        [python, str(SCRIPT), str(port), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait(process, port)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.communicate()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(process.communicate()[1].decode(errors="replace"))
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
            return
        time.sleep(0.05)
    raise RuntimeError("the MCP server does not listen")


def old_python() -> str | None:
    """Return a Python with the package of the era before, None when it has none.

    Its environment is made once for a machine and kept beside other temporary files.
    """
    home = Path(tempfile.gettempdir()) / f"aibridge-{OLD_PACKAGE.replace('==', '-')}"
    python = home / "bin" / "python"
    home.mkdir(exist_ok=True)
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists() and not _build(home, python):
            return None
        return str(python)


def _build(home: Path, python: Path) -> bool:
    """Install by uv, which is quick, or by pip, which may know a mirror."""
    uv, pip = [sys.executable, "-m", "uv"], [str(python), "-m", "pip"]
    is_built = _succeeds(sys.executable, "-m", "venv", str(home)) and (
        _succeeds(*uv, "pip", "install", "--python", str(python), OLD_PACKAGE)
        or _succeeds(*pip, "install", "-q", OLD_PACKAGE)
    )
    if is_built:
        (home / "ready").touch()
    return is_built


def _succeeds(*command: str) -> bool:
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    return done.returncode == 0

"""A real gateway for tests: gunicorn with gevent workers on a loopback port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.postgres import free_port

ROOT = Path(__file__).resolve().parent.parent.parent


class Gateway:
    """One node: a gunicorn master with its workers.

    ``settings`` are environment variables on top of ``database_url`` and
    ``data_dir``, ``conf`` is what gunicorn reads. ``start`` returns when /readyz
    answers 200; ``stop`` ends all workers and raises when they had to be killed. Output
    is kept in ``log``.
    """

    def __init__(
        self,
        database_url: str,
        data_dir: Path,
        *,
        workers: int = 1,
        port: int | None = None,
        conf: Path = ROOT / "gunicorn.conf.py",
        **settings: Any,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir / f"gunicorn-{self.port}.log"
        self._conf = conf
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIBRIDGE_", "DJANGO_", "PYTEST_", "COV_"))
        } | {
            "DATABASE_URL": database_url,
            "AIBRIDGE_DATA_DIR": str(data_dir),
            "AIBRIDGE_HOST": "127.0.0.1",
            "AIBRIDGE_PORT": str(self.port),
            "AIBRIDGE_WORKERS": str(workers),
            "AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS": "True",
            "DEBUG": "True",
            "DJANGO_SETTINGS_MODULE": "aibridge_site.settings",
            "PYTHONUNBUFFERED": "1",
            **{name: str(value) for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Gateway:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def start(self, *, ready: bool = True) -> Gateway:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", str(self._conf)],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if ready:
            self.wait_until_ready()
        return self

    def wait_until_ready(self, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"gateway not ready:\n{self.output()}")

    def output(self) -> str:
        """Return what the server printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, seconds: float = 20) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"gateway did not stop:\n{self.output()}") from None
        self._process = None

    def kill(self) -> None:
        """End master and workers at once, as a power cut would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None

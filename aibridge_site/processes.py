"""Processes that live as long as this one, however it ends.

Each has a session of its own, so that Ctrl-C reaches this process alone and the others
end in the right order. Knows nothing of what they do.
"""

from __future__ import annotations

import select
import signal
import subprocess
from collections.abc import Mapping, Sequence

# Ends the process when the writing end of its stdin closes: when its starter is gone.
_GUARD = 'cat >/dev/null; kill -TERM "$1" 2>/dev/null'


class Process:
    """A started program with a guard that outlives the program that started both."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdout: int | None = None,
    ) -> None:
        self._program = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            text=True,
            start_new_session=True,
        )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self._program.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._program.poll()

    def first_line(self, seconds: float) -> str:
        """Return what it prints first, "" when it prints nothing within this time."""
        stdout = self._program.stdout
        assert stdout is not None, "started without a pipe"
        readable, _, _ = select.select([stdout], [], [], seconds)
        return stdout.readline().strip() if readable else ""

    def signal(self, number: signal.Signals) -> None:
        if self.status is None:
            self._program.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Return whether it has ended within so many seconds."""
        try:
            self._program.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, seconds: float) -> None:
        """End it: politely, and by force after so many seconds."""
        self.signal(signal.SIGTERM)
        if not self.wait(seconds):
            self._program.kill()
            self._program.wait()
        self._guard.kill()
        self._guard.wait()
        for stream in (self._guard.stdin, self._program.stdout):
            if stream is not None:
                stream.close()

"""What goes wrong during a run, and when: killed workers, a stopped database."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.live.gateway import Gateway
from tests.postgres import Cluster

_FIRST_AFTER = 3.0


@dataclass(frozen=True)
class Script:
    """When what happens; seconds. Kills are spread evenly over the whole time."""

    seconds: float
    kills: int
    outage_seconds: float
    outages: tuple[tuple[float, str], ...]
    """Share of the time after which one begins, and how the database is stopped."""


FULL = Script(150, 20, 30, ((0.2, "fast"), (0.6, "immediate")))
QUICK = Script(40, 6, 6, ((0.25, "fast"), (0.65, "immediate")))


@dataclass
class Disasters:
    """Plays a script; ``kills`` and ``outages`` hold moments of time.monotonic().

    ``journaled`` is how many records waited in journals when an outage ended.
    """

    gateway: Gateway
    cluster: Cluster
    script: Script
    count_journaled: Callable[[], int]
    kills: list[float] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    journaled: list[int] = field(default_factory=list)

    def play(self) -> None:
        """Return when everything happened."""
        began = time.monotonic() + _FIRST_AFTER
        threads = [
            threading.Thread(target=self._at, args=(began, self._plan_kills())),
            threading.Thread(target=self._at, args=(began, self._plan_outages())),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _plan_kills(self) -> list[tuple[float, Callable[[], None]]]:
        gap = self.script.seconds / self.script.kills
        return [(gap * n, self._kill) for n in range(self.script.kills)]

    def _plan_outages(self) -> list[tuple[float, Callable[[], None]]]:
        return [
            (share * self.script.seconds, lambda mode=mode: self._stop_database(mode))
            for share, mode in self.script.outages
        ]

    def _at(self, began: float, plan: list[tuple[float, Callable[[], None]]]) -> None:
        for after, happen in plan:
            time.sleep(max(0.0, began + after - time.monotonic()))
            happen()

    def _kill(self) -> None:
        """Kill any worker; between two of them there may be none for a moment."""
        while not (workers := self.gateway.workers()):
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.kill(random.choice(workers), signal.SIGKILL)
        self.kills.append(time.monotonic())

    def _stop_database(self, mode: str) -> None:
        began = time.monotonic()
        self.cluster.stop(mode)
        time.sleep(max(0.0, self.script.outage_seconds - (time.monotonic() - began)))
        self.journaled.append(self.count_journaled())
        self.cluster.start()
        self.outages.append((began, time.monotonic()))

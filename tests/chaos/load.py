"""Many clients at once, and what each of them saw.

Each request has a connection of its own, so that a lost one belongs to one request.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass

import httpx

from tests.chaos.plans import Plan, plan_of

WHOLE, ERROR, BROKEN_OFF, LOST, LEFT = "whole", "error", "broken off", "lost", "left"
"""An answer to its end; an HTTP error; a stream that ended with an error event; a
connection that was lost; a client that hung up."""
_REST_AFTER_503 = 0.25
_PATIENCE = 120


@dataclass(frozen=True)
class Seen:
    """What a client saw of its request; moments are of time.monotonic()."""

    number: int
    result: str
    began: float
    ended: float
    status: int | None = None
    interception: str = ""
    detail: str = ""


class Load:
    """Clients that ask until they are stopped. ``providers`` maps APIs to names."""

    def __init__(self, base: str, providers: dict[str, str], token: str) -> None:
        self.seen: list[Seen] = []
        self._base = base
        self._providers = providers
        self._token = token
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, clients: int) -> None:
        for _ in range(clients):
            thread = threading.Thread(target=self._run, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let every client finish what it asked for."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    def _run(self) -> None:
        limits = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(limits=limits, timeout=_PATIENCE, verify=False) as client:
            while not self._stopping.is_set():
                seen = self._ask(client, plan_of(next(self._numbers)))
                self.seen.append(seen)
                if seen.status == 503:
                    self._stopping.wait(_REST_AFTER_503)

    def _ask(self, client: httpx.Client, plan: Plan) -> Seen:
        call = _Call(plan)
        try:
            with client.stream(
                "POST",
                f"{self._base}/aibridge/{self._providers[plan.api.name]}/{plan.api.route}",
                json=plan.request(),
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=_timeout(plan),
            ) as answer:
                call.read(answer)
        except httpx.ReadTimeout as error:
            return call.seen(LEFT if plan.leaves else LOST, repr(error))
        except httpx.HTTPError as error:
            return call.seen(LOST, repr(error))
        return call.result()


def _timeout(plan: Plan) -> httpx.Timeout:
    # Who leaves a blocking call does so before there is an answer.
    hasty = plan.leaves and not plan.streaming
    return httpx.Timeout(_PATIENCE, read=0.05 if hasty else _PATIENCE)


class _Call:
    """One request under way."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._began = time.monotonic()
        self._status: int | None = None
        self._interception = ""
        self._content = b""
        self._left = False

    def read(self, answer: httpx.Response) -> None:
        self._status = answer.status_code
        self._interception = answer.headers.get("x-aibridge-interception-id", "")
        for chunk in answer.iter_raw():
            self._content += chunk
            if self._plan.leaves and self._plan.streaming and self._status == 200:
                self._left = True
                return

    def result(self) -> Seen:
        if self._left:
            return self.seen(LEFT)
        if self._status != 200:
            return self.seen(ERROR, self._content[:300].decode(errors="replace"))
        if self._is_whole():
            return self.seen(WHOLE)
        return self.seen(BROKEN_OFF, self._content[-200:].decode(errors="replace"))

    def _is_whole(self) -> bool:
        if self._plan.streaming:
            ended = self._plan.api.terminal in self._content
            return ended and b'"error":{' not in self._content
        try:
            return bool(json.loads(self._content)["id"])
        except (ValueError, KeyError):
            return False

    def seen(self, result: str, detail: str = "") -> Seen:
        return Seen(
            self._plan.number,
            result,
            self._began,
            time.monotonic(),
            self._status,
            self._interception,
            detail,
        )

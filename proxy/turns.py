"""Answers one request in as many turns as its tools need.

Between the interceptor, which sends and records, and the loop, which runs tools: it
knows the order of things, for whole answers and for streams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings

from interceptions.recorder import Recording
from proxy import errors, failover
from proxy.dialects.base import Dialect, NotAnAnswer, Turn
from proxy.dialects.tooling import Output
from proxy.failover import Answer
from proxy.metrics import Meter
from proxy.tools import LEFT, ToolLoop
from proxy.watch import ClientWatch


class UpstreamRefused(errors.GatewayError):
    """Upstream answered a later turn with an error; its status is the client's."""

    def __init__(
        self, answer: Answer, error: tuple[str, str], envelope_type: str
    ) -> None:
        super().__init__(error[1])
        self.status = answer.status
        self.error_type = error[0]
        self.envelope_type = envelope_type
        self._retry_after = answer.response.headers.get("retry-after")

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": self._retry_after} if self._retry_after else {}


class ToolTurns:
    """The turns of one request; ``final`` is what the model said in the last.

    ``ask`` sends the loop's current body; ``take`` records a turn; ``describe`` names
    the error type and message of an error answer.
    """

    def __init__(
        self,
        loop: ToolLoop,
        dialect: Dialect,
        recording: Recording,
        meter: Meter,
        watch: ClientWatch,
        *,
        ask: Callable[[], Answer],
        take: Callable[[Turn], None],
        describe: Callable[[int, bytes], tuple[str, str]],
    ) -> None:
        self.loop = loop
        self.final: Output | None = None
        self._dialect = dialect
        self._recording = recording
        self._meter = meter
        self._watch = watch
        self._ask = ask
        self.take = take
        self._describe = describe

    def read_whole(self, answer: Answer) -> tuple[Answer, bytes, Turn]:
        """Return the last answer, its body for the client, and its turn, not taken.

        The turn is empty when the answer is an error.
        """
        while True:
            body = read_body(answer)
            if answer.status >= 400:
                return answer, body, Turn()
            turn = read_answer(self._dialect, body)
            output = self.loop.read_output(body)
            if turn.error is not None or not output.continues:
                self.final = output
                own_id = str(self._recording.id)
                return answer, self.loop.final_body(body, output, own_id), turn
            self.take(turn)
            self.run(output)
            answer = self._ask()

    def own_part(self, turn: Turn) -> Turn:
        """Return a recorded turn without injected calls; note those not to be run."""
        if self.final is not None:
            self.loop.note_not_run(self.final, self)
        return self.loop.without_injected(turn)

    def run(self, output: Output) -> None:
        """Run a turn's calls and make the loop ready to ask for the next."""
        watch = self._watch
        outcomes = self.loop.run(output, self, watch.on_gone)
        if watch.gone or any(outcome.error == LEFT for outcome in outcomes):
            raise errors.UpstreamBroke("the request ended while tools ran")
        self.loop.advance(output, outcomes)

    def ask_for_stream(self) -> Answer:
        """Send the next turn's request; raises UpstreamRefused for an error answer."""
        answer = self._ask()
        if answer.status >= 400:
            body = read_body(answer)
            raise UpstreamRefused(
                answer,
                self._describe(answer.status, body),
                self._dialect.read_error(body)[0],
            )
        kind = answer.response.headers.get("content-type", "")
        if kind.startswith("application/json"):
            answer.close()
            raise errors.UpstreamBroke("upstream did not stream its answer")
        return answer

    def injected_tool(self, **facts: Any) -> None:
        """Record one call of an injected tool."""
        self._recording.injected_tool(**facts)
        self._meter.injected_tool(facts["server_url"], facts["tool"])


def read_body(answer: Answer) -> bytes:
    """Return an answer's whole body; raises GatewayError."""
    if answer.body is not None:
        return answer.body
    return failover.read_body(answer.response, limit=settings.AIBRIDGE_MAX_ANSWER_BYTES)


def read_answer(dialect: Dialect, body: bytes) -> Turn:
    """Return a whole answer's turn; raises UpstreamBroke when the body is none."""
    turn = dialect.read_answer(body)
    if isinstance(turn.error, NotAnAnswer):
        # An SDK must not have to guess what an empty or torn 200 means.
        raise errors.UpstreamBroke(turn.error.message)
    return turn

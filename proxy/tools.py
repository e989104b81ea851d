"""The inner agentic loop: runs the MCP tools a model calls, and asks the model again.

1. Tools are injected into a request once; each turn repeats what the one before asked
   and adds to its end, so that upstream's prompt cache keeps hitting.
2. Calls of one turn run at the same time. An error of a tool is told to the model, it
   never fails the request; limits of the loop do.
3. When the model also calls a tool of the client, the client's call goes out and the
   gateway's are not run: what was run has always been told to the model.
4. Every call is recorded: with what came of it, or why it was not run.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import gevent
from django.conf import settings

from proxy import errors
from proxy.dialects.anthropic_tools import AnthropicTooling
from proxy.dialects.base import BridgedRequest, Dialect, Json, ToolCall, Turn
from proxy.dialects.chat_tools import ChatTooling
from proxy.dialects.jsontext import as_objects
from proxy.dialects.responses_tools import ResponsesTooling
from proxy.dialects.splice import NotAnObject
from proxy.dialects.tooling import (
    MOST_TOOLS,
    Output,
    Tooling,
    ToolOutcome,
    ToolsRefused,
    Weaver,
    arguments_of,
)
from proxy.mcp import McpError
from proxy.toolsets import InjectedTool, ToolSet

logger = logging.getLogger(__name__)

_TOOLINGS: dict[str, Tooling] = {
    "anthropic_messages": AnthropicTooling(),
    "openai_chat": ChatTooling(),
    "openai_responses": ResponsesTooling(),
}
_NOT_RUN_MIXED = "not run: the model called a tool of the client in the same turn"
_NOT_RUN_CUT = "not run: the answer ended before the model was done"
_NOT_RUN_LIMIT = "not run: the limit of turns is reached"
LEFT = "cancelled: the request ended before the tool did"
"""The error of a call that was stopped because its request was."""


class TooManyTools(errors.GatewayError):
    """The injected tools and the client's own are more than providers take."""

    status = 400
    error_type = "bad_request"


class _LoopEnded(errors.GatewayError):
    """A limit of the loop; an SDK that tried again would pay for it all again."""

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Should-Retry": "false"}


class TooManyTurns(_LoopEnded):
    """The model kept calling tools for AIBRIDGE_TOOL_ITERATIONS turns."""

    status = 500
    error_type = "server_error"

    def __init__(self, turns: int) -> None:
        super().__init__(f"the model still calls tools after {turns} turns with tools")


class ToolsTookTooLong(_LoopEnded):
    """The loop lasted longer than AIBRIDGE_TOOL_SECONDS."""

    status = 504
    error_type = "timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the turns with tools took longer than {seconds:g} s")


class Notebook(Protocol):
    """Where calls are written down (``interceptions.recorder.Recording``)."""

    def injected_tool(self, **facts: Any) -> None:
        """Record one call of an injected tool."""


def prepare(
    dialect: Dialect, request: BridgedRequest, tools: ToolSet
) -> ToolLoop | None:
    """Return the loop of a request whose body now has the tools, None without any.

    Raises TooManyTools.
    """
    if not tools or _is_small_and_fast(dialect, request):
        return None
    tooling = _TOOLINGS[dialect.name]
    offered = [tool.offered for tool in tools.values()]
    _check_number(len(offered), len(as_objects(request.parsed.get("tools"))))
    try:
        body = tooling.offer(request.body, request.parsed, offered)
    except (ToolsRefused, NotAnObject) as error:
        logger.warning("tools not injected", extra={"reason": str(error)})
        return None
    return None if body is request.body else ToolLoop(tooling, tools, body)


def _is_small_and_fast(dialect: Dialect, request: BridgedRequest) -> bool:
    messages = dialect.name == "anthropic_messages"
    return messages and request.streaming and "haiku" in request.model


def _check_number(injected: int, own: int) -> None:
    if injected + own > MOST_TOOLS:
        raise TooManyTools(
            f"{injected} tools of MCP servers and {own} of the client are more than "
            f"{MOST_TOOLS}; narrow the servers' allow patterns"
        )


class ToolLoop:
    """The turns of one request; knows what was said, run and used so far.

    ``body`` is what the next turn asks. ``turn`` counts from 0.
    """

    def __init__(self, tooling: Tooling, tools: ToolSet, body: bytes) -> None:
        self.body = body
        self.turn = 0
        self._tooling = tooling
        self._tools = tools
        self._usages: list[Json] = []
        self._started = time.monotonic()

    # Reading and composing answers

    def weaver(self, own_id: str) -> Weaver:
        """Return what makes the turns' streams one."""
        return self._tooling.weaver(self._tools, own_id)

    def read_output(self, body: bytes) -> Output:
        """Read what the model said in a whole answer."""
        return self._tooling.read_output(body, self._tools)

    def final_body(self, body: bytes, output: Output, own_id: str) -> bytes:
        """Return the last answer as the client gets it: unchanged if it is the only."""
        if output.calls:
            body = self._tooling.conceal(body, self._tools)
        if self._usages:
            usages = [*self._usages, output.usage]
            body = self._tooling.compose(body, own_id, usages)
        return body

    def without_injected(self, turn: Turn) -> Turn:
        """Return the turn without calls of injected tools."""
        shown = [call for call in turn.tool_calls if not self._is_injected(call)]
        return replace(turn, tool_calls=shown)

    def _is_injected(self, call: ToolCall) -> bool:
        return call.kind == "function" and call.name.strip() in self._tools

    # Running tools

    def advance(
        self,
        output: Output,
        outcomes: Sequence[ToolOutcome],
    ) -> None:
        """Make ``body`` the request of the next turn; raises a limit of the loop."""
        self._check_time()
        self._usages.append(output.usage)
        self.body = self._tooling.extend(self.body, output, outcomes)
        self.turn += 1

    def run(
        self,
        output: Output,
        notebook: Notebook,
        on_gone: Callable[[Callable[[], None]], None],
    ) -> list[ToolOutcome]:
        """Run the calls of a turn and return what came of them, in their order.

        ``on_gone`` is told what to call when the client leaves meanwhile. Raises a
        limit of the loop; then nothing was run.
        """
        self._check_limits(output, notebook)
        runs = [gevent.spawn(self._run, call, notebook) for call in output.calls]
        on_gone(lambda: gevent.killall(runs, block=False))
        try:
            gevent.joinall(runs)
        finally:
            gevent.killall(runs)
        return [
            run.value
            if isinstance(run.value, ToolOutcome)
            else ToolOutcome(call, error=LEFT)
            for run, call in zip(runs, output.calls, strict=True)
        ]

    def note_not_run(self, output: Output, notebook: Notebook) -> None:
        """Record that nobody runs the calls of a last turn."""
        reason = _NOT_RUN_MIXED if output.others else _NOT_RUN_CUT
        self._note_all(output, notebook, reason)

    def _note_all(self, output: Output, notebook: Notebook, reason: str) -> None:
        for call in output.calls:
            self._note(call, notebook, reason)

    def _check_limits(self, output: Output, notebook: Notebook) -> None:
        most = settings.AIBRIDGE_TOOL_ITERATIONS
        if self.turn >= most:
            self._note_all(output, notebook, _NOT_RUN_LIMIT)
            raise TooManyTurns(most)
        self._check_time()

    def _check_time(self) -> None:
        if self._seconds_left() <= 0:
            raise ToolsTookTooLong(settings.AIBRIDGE_TOOL_SECONDS)

    def _seconds_left(self) -> float:
        return float(
            settings.AIBRIDGE_TOOL_SECONDS - (time.monotonic() - self._started)
        )

    def _run(self, call: ToolCall, notebook: Notebook) -> ToolOutcome:
        started = time.monotonic()
        outcome = ToolOutcome(call, error=LEFT)
        try:
            outcome = self._outcome(call)
        finally:
            took = int((time.monotonic() - started) * 1000)
            self._note(call, notebook, outcome.error, took)
        return outcome

    def _outcome(self, call: ToolCall) -> ToolOutcome:
        found = self._tools[call.name.strip()]
        arguments = arguments_of(call)
        if arguments is None:
            return ToolOutcome(call, error="the arguments are not a JSON object")
        left = max(self._seconds_left(), 0.001)
        try:
            result = found.client.call_tool(found.tool.name, arguments, timeout=left)
        except McpError as error:
            return ToolOutcome(call, error=str(error))
        except Exception:
            logger.exception("tool call failed", extra={"tool": found.id})
            return ToolOutcome(call, error="the tool could not be called")
        return ToolOutcome(call, result)

    def _note(
        self,
        call: ToolCall,
        notebook: Notebook,
        error: str,
        took: int | None = None,
    ) -> None:
        found: InjectedTool = self._tools[call.name.strip()]
        arguments = arguments_of(call)
        sent = call.arguments if arguments is None else json.dumps(arguments)
        notebook.injected_tool(
            turn=self.turn,
            tool_call_id=call.id,
            item_id=call.item_id,
            tool=found.tool.name,
            input=sent,
            server_name=found.server.name,
            server_url=found.server.public_url,
            invocation_error=error,
            duration_ms=took,
        )

"""What each request of a run is: which API, how upstream answers, what the client does.

A plan follows from the request's number alone, so that the load, the provider and the
audit agree without telling each other. The number travels in the prompt.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

from proxy.demo.answers import CHAT, MESSAGES, RESPONSES, answer_body, answer_events
from proxy.demo.reply import Reply
from tests.answers import Answer, SeenRequest
from tests.live import apis

KEYS = ("often-limited", "sometimes-refused", "always-good")
GOOD, BROKEN, CUT, ERROR_EVENT = "good", "broken", "cut", "error event"
_PROMPT = re.compile(rb"chaos request (\d{7})")
_NAMES = {"messages": MESSAGES, "chat": CHAT, "responses": RESPONSES}


@dataclass(frozen=True)
class Plan:
    """One request. ``failing`` maps keys to the status they are answered with.

    ``seconds`` is how long upstream takes in all; ``leaves`` says that the client
    hangs up when it has got the beginning, or a little later when there is none.
    """

    number: int
    api: apis.Api
    streaming: bool
    fate: str
    failing: dict[str, int]
    seconds: float
    leaves: bool

    @property
    def prompt(self) -> str:
        return f"chaos request {self.number:07d}"

    @property
    def response_id(self) -> str:
        prefix = {"messages": "msg_", "chat": "chatcmpl-", "responses": "resp_"}
        return f"{prefix[self.api.name]}{self.number:07d}"

    @property
    def usage(self) -> tuple[int, int]:
        return self.number + 1, self.number % 97 + 1

    def request(self) -> dict[str, object]:
        asked = self.api.body(streaming=self.streaming)
        if self.api is apis.RESPONSES:
            return asked | {"input": self.prompt}
        return asked | {"messages": [{"role": "user", "content": self.prompt}]}


@cache
def plan_of(number: int) -> Plan:
    chance = random.Random(number)
    streaming = chance.random() < 0.6
    fates = [GOOD] * 92 + [BROKEN] * 3 + [CUT] * 3
    fates += [ERROR_EVENT if streaming else BROKEN] * 2
    failing = {}
    if chance.random() < 0.05:
        failing[KEYS[0]] = 429
    if chance.random() < 0.02:
        failing |= {KEYS[0]: 429, KEYS[1]: 401}
    is_long = chance.random() < 0.04
    return Plan(
        number=number,
        api=apis.APIS[number % 3],
        streaming=streaming,
        fate=chance.choice(fates),
        failing=failing,
        seconds=chance.uniform(2, 8) if is_long else chance.uniform(0, 0.2),
        leaves=chance.random() < 0.06,
    )


def number_in(body: bytes) -> int | None:
    """Return the number of the plan that a request body carries."""
    found = _PROMPT.search(body)
    return int(found[1]) if found else None


def answer(request: SeenRequest) -> Answer:
    """Answer as planned; whoever does not follow a plan (a probe) gets a model list."""
    number = number_in(request.body)
    if number is None:
        return Answer()
    plan = plan_of(number)
    if status := plan.failing.get(request.key):
        return Answer(status=status, headers={"retry-after-ms": "150"})
    if plan.fate == BROKEN:
        return Answer(status=500, wait=plan.seconds)
    return _streamed(plan) if plan.streaming else _whole(plan)


def _reply(plan: Plan) -> Reply:
    counted, written = plan.usage
    return Reply(
        id=f"{plan.number:07d}",
        model="chaos",
        text=tuple(f"word {n} " for n in range(12)),
        input_tokens=counted,
        output_tokens=written,
    )


def _whole(plan: Plan) -> Answer:
    body = answer_body(_NAMES[plan.api.name], _reply(plan))
    cut = 150 if plan.fate == CUT else None
    return Answer(json=body, wait=plan.seconds, cut_after=cut)


def _streamed(plan: Plan) -> Answer:
    events = list(answer_events(_NAMES[plan.api.name], _reply(plan)))
    if plan.fate == CUT:
        return Answer(chunks=events, cut_after=len(b"".join(events[:8])) + 20)
    if plan.fate == ERROR_EVENT:
        events = [*events[:8], _error_event(plan)]
    pause = plan.seconds / len(events)
    return Answer(chunks=[part for event in events for part in (pause, event)])


def _error_event(plan: Plan) -> bytes:
    error = b'{"type":"server_error","code":"server_error","message":"no"}'
    if plan.api is apis.CHAT:
        return b'data: {"error":' + error + b"}\n\n"
    return b'event: error\ndata: {"type":"error","error":' + error + b"}\n\n"

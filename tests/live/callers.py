"""How a client calls: to the end, leaving early, reading slowly, or twice at once.

A caller asks once or more and returns what it saw; the official SDKs are among them.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx
import openai

from tests.live.apis import CHAT, MESSAGES, Api
from tests.upstream import FakeUpstream


@dataclass(frozen=True)
class Case:
    """One provider on one node, asked through one API in one mode."""

    api: Api
    streaming: bool
    base: str
    provider: str
    token: str
    upstream: FakeUpstream

    @property
    def url(self) -> str:
        return f"{self.base}/aibridge/{self.provider}/{self.api.route}"

    def asking(self) -> dict[str, Any]:
        """Return the arguments of an httpx request."""
        return {
            "method": "POST",
            "url": self.url,
            "json": self.api.body(streaming=self.streaming),
            "headers": {"Authorization": f"Bearer {self.token}"},
        }


@dataclass(frozen=True)
class Seen:
    """What a client saw; ``headers`` is empty when it left before there were any."""

    status: int | None
    headers: httpx.Headers
    content: bytes


Caller = Callable[[Case], list[Seen]]


def _client(**options: Any) -> httpx.Client:
    return httpx.Client(timeout=60, **options)


def reads_all(case: Case) -> list[Seen]:
    with _client() as client:
        answer = client.request(**case.asking())
    return [Seen(answer.status_code, answer.headers, answer.content)]


def reads_slowly(case: Case) -> list[Seen]:
    """Read nothing for a while, and see that upstream is not drained meanwhile."""
    sizes = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)]
    transport = httpx.HTTPTransport(socket_options=sizes)
    with (
        _client(transport=transport) as client,
        client.stream(**case.asking()) as answer,
    ):
        _wait_until_stalled(case.upstream)
        assert not case.upstream.last.completed, "somebody holds the whole answer"
        content = b"".join(answer.iter_raw())
    return [Seen(answer.status_code, answer.headers, content)]


def _wait_until_stalled(upstream: FakeUpstream) -> None:
    size, since = -1, time.monotonic()
    deadline = since + 10
    while time.monotonic() < min(since + 0.3, deadline):
        if (now := len(upstream.last.sent)) != size:
            size, since = now, time.monotonic()
        time.sleep(0.02)


def leaving_at(part: float) -> Caller:
    """Return a client that hangs up when upstream has sent this part and waits."""

    def leave(case: Case) -> list[Seen]:
        seen = _read_what_was_sent(case) if case.streaming and part else _hang_up(case)
        case.upstream.wait_until(lambda: case.upstream.last.client_left, seconds=5)
        return [seen]

    return leave


def _read_what_was_sent(case: Case) -> Seen:
    content = b""
    with _client() as client, client.stream(**case.asking()) as answer:
        for chunk in answer.iter_raw():
            content += chunk
            if len(content) >= len(case.upstream.last.sent):
                break
    return Seen(answer.status_code, answer.headers, content)


def _hang_up(case: Case) -> Seen:
    """Ask, and leave without having got a byte."""
    request = httpx.Request(**case.asking())
    head = f"POST {request.url.path} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in request.headers.items()
    )
    address = (request.url.host, request.url.port or 80)
    with socket.create_connection(address) as sock:
        sock.sendall(head.encode() + b"\r\n" + request.content)
        case.upstream.wait_for(1)
    return Seen(None, httpx.Headers(), b"")


def twice_at_once(case: Case) -> list[Seen]:
    """Ask again while the first request is in flight."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(reads_all, case)
        case.upstream.wait_for(1)
        second = pool.submit(reads_all, case)
        return first.result() + second.result()


class OfficialSdks:
    """Asks with the vendors' own clients, as an application would."""

    def __init__(self) -> None:
        self._claude = anthropic.Anthropic(auth_token="unset", max_retries=0)
        self._gpt = openai.OpenAI(api_key="unset", max_retries=0)

    def ask(self, case: Case) -> str:
        """Return the whole text; raises what the SDK raises."""
        base = f"{case.base}/aibridge/{case.provider}"
        if case.api is MESSAGES:
            claude = self._claude.copy(base_url=base, auth_token=case.token)
            return _ask_claude(claude, case)
        gpt = self._gpt.copy(base_url=f"{base}/v1", api_key=case.token)
        if case.api is CHAT:
            return _ask_chat(gpt, case)
        return _ask_responses(gpt, case)


def _ask_claude(claude: anthropic.Anthropic, case: Case) -> str:
    if case.streaming:
        with claude.messages.stream(**case.api.request) as stream:
            message = stream.get_final_message()
    else:
        message = claude.messages.create(**case.api.request)
    return "".join(block.text for block in message.content)


def _ask_chat(gpt: openai.OpenAI, case: Case) -> str:
    if not case.streaming:
        answer = gpt.chat.completions.create(**case.api.request)
        return answer.choices[0].message.content or ""
    chunks = gpt.chat.completions.create(**case.api.request, stream=True)
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def _ask_responses(gpt: openai.OpenAI, case: Case) -> str:
    if not case.streaming:
        return gpt.responses.create(**case.api.request).output_text
    with gpt.responses.stream(**case.api.request) as stream:
        for _ in stream:
            pass
        return stream.get_final_response().output_text

"""A provider made of real sockets that answers as scripted and remembers what it saw.

It runs in plain threads, needs no gevent, and can be called by this process and by
any other one, a live gunicorn for example::

    with FakeUpstream() as upstream:
        upstream.script("key-a", 429, {"retry-after": "7"})
        upstream.script("key-b", 200, fixture="simple")
        ...
        assert upstream.keys_tried == ["key-a", "key-b"]
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

from tests.answers import Answer, SeenRequest
from tests.wire import ClientLeft, Connection, Stopped

Source = Answer | Callable[[SeenRequest], Answer]


class _Script:
    """The answers of one key (and route), in order; the last one stays."""

    def __init__(self) -> None:
        self._steps: list[tuple[Source, float]] = []

    def add(self, source: Source, times: int | None) -> None:
        if self._steps and self._steps[-1][1] == math.inf:
            # Another answer follows, so this one is given once.
            self._steps[-1] = (self._steps[-1][0], 1)
        self._steps.append((source, math.inf if times is None else times))

    def next(self) -> Source | None:
        while self._steps and self._steps[0][1] < 1:
            self._steps.pop(0)
        if not self._steps:
            return None
        source, times = self._steps[0]
        self._steps[0] = (source, times - 1)
        return source


class FakeUpstream:
    """A scripted provider; every method may be called while it serves.

    ``requests`` are all requests seen, in order; ``aborted`` is set once a client has
    left during an answer.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[SeenRequest] = []
        self.aborted = threading.Event()
        self._tls = tls
        self._scripts: dict[tuple[str | None, str | None], _Script] = {}
        self._changed = threading.Condition()
        self._open: set[Connection] = set()
        self._connections = 0
        self._listener: socket.socket | None = None
        self.port = 0

    # Life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Listen on a free port, or again on the one it had before."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=4096)
        self.port = listener.getsockname()[1]
        self._listener = listener
        _start_thread(self._accept, listener)
        return self

    def refuse(self) -> None:
        """Refuse new connections and drop open ones, until ``start``."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in list(self._open):
            connection.shut()

    stop = refuse

    @property
    def url(self) -> str:
        """Its base URL, without a trailing slash."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    # Scripting

    def script(
        self,
        key: str | None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        route: str | None = None,
        times: int | None = None,
        **answer: Any,
    ) -> Self:
        """Add an answer for requests that show ``key`` (None: any key).

        Answers of a key are given in order; each once, or ``times`` times; the last
        one for ever unless it has ``times``. ``route`` limits them to paths that end
        so. The other arguments are those of Answer. The most specific script wins:
        key and route, key, route, neither; what is not scripted gets a simple answer.
        """
        made = Answer(status=status, headers=headers or {}, **answer)
        return self.answer_with(made, key=key, route=route, times=times)

    def answer_with(
        self,
        source: Source,
        *,
        key: str | None = None,
        route: str | None = None,
        times: int | None = None,
    ) -> Self:
        """Like ``script``, with an Answer or a function that makes one per request."""
        with self._changed:
            self._scripts.setdefault((key, route), _Script()).add(source, times)
        return self

    def forget(self) -> None:
        """Drop all scripts and everything remembered."""
        with self._changed:
            self._scripts.clear()
            self.requests.clear()
            self.aborted.clear()

    # Looking back

    @property
    def keys_tried(self) -> list[str]:
        return [request.key for request in list(self.requests)]

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        return self._connections

    @property
    def last(self) -> SeenRequest:
        return self.requests[-1]

    def wait_for(self, count: int, *, seconds: float = 10.0) -> list[SeenRequest]:
        """Wait until that many requests were seen and return them."""
        self.wait_until(lambda: len(self.requests) >= count, seconds=seconds)
        return self.requests[:count]

    def wait_until(self, is_true: Callable[[], bool], *, seconds: float = 10.0) -> None:
        """Wait until something about the requests holds; AssertionError if not."""
        with self._changed:
            held = self._changed.wait_for(is_true, seconds)
        seen = [(r.method, r.target, r.completed, r.client_left) for r in self.requests]
        assert held, f"not so within {seconds} s; seen: {seen[-20:]}"

    # Serving

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self._connections += 1
            _start_thread(self._serve, sock, self._connections)

    def _serve(self, sock: socket.socket, number: int) -> None:
        connection = Connection(sock, number)
        self._open.add(connection)
        try:
            connection.greet(self._tls)
            while request := connection.read_request():
                answer = self._note(request)
                if not self._answer(connection, request, answer):
                    return
        except (OSError, ValueError, Stopped):
            return
        finally:
            self._open.discard(connection)
            connection.close()

    def _note(self, request: SeenRequest) -> Answer:
        with self._changed:
            self.requests.append(request)
            request.number = len(self.requests)
            source = self._source(request)
            self._changed.notify_all()
        return source if isinstance(source, Answer) else source(request)

    def _source(self, request: SeenRequest) -> Source:
        for key in (request.key, None):
            for (wanted, route), script in self._scripts.items():
                is_meant = route is not None and request.path.endswith(route)
                if wanted == key and is_meant and (source := script.next()):
                    return source
            script = self._scripts.get((key, None), _Script())
            if source := script.next():
                return source
        return Answer()

    def _answer(
        self, connection: Connection, request: SeenRequest, answer: Answer
    ) -> bool:
        """Send the answer; return whether the connection can serve another one."""
        request.status = answer.status
        try:
            return connection.send_answer(request, answer)
        except (ClientLeft, ConnectionError, ssl.SSLError):
            request.completed = False
            request.client_left = True
            self.aborted.set()
            return False
        finally:
            with self._changed:
                self._changed.notify_all()


def _start_thread(target: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=target, args=args, daemon=True).start()

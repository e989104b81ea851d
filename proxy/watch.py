"""Notices that a client hung up while nothing is being written to it.

A write would find out too, but a silent upstream gives no occasion to write. Knows the
server's socket and nothing of what is being served.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import gevent

_READ = 1


class ClientWatch:
    """Watches one request's client; ``gone`` turns true when it closed its side.

    A client that half-closes its connection counts as gone. Bytes of a pipelined next
    request end the watch, since they say that the client is there. Without a gevent
    server socket (tests, runserver) the watch never fires.
    """

    __slots__ = ("_abort", "_socket", "_watcher", "gone")

    def __init__(self, server_socket: Any) -> None:
        self.gone = False
        self._abort: Callable[[], None] | None = None
        self._watcher: Any = None
        self._socket = getattr(server_socket, "_sock", None)

    def start(self) -> None:
        """Begin to watch; the request's body must have been read."""
        if self._socket is None:
            return
        self._watcher = gevent.get_hub().loop.io(self._socket.fileno(), _READ)
        self._watcher.start(self._readable)

    def stop(self) -> None:
        """Stop watching; may be called again."""
        self._abort = None
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def on_gone(self, abort: Callable[[], None]) -> None:
        """Call ``abort`` when the client leaves, at once if it already left.

        It runs on the event loop, so it must not block.
        """
        self._abort = abort
        if self.gone:
            abort()

    def cut(self) -> None:
        """Abort what is under way, as when the client leaves (for shutdown)."""
        if self._abort is not None:
            self._abort()

    def _readable(self) -> None:
        try:
            assert self._socket is not None
            self.gone = self._socket.recv(1, socket.MSG_PEEK) == b""
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.gone = True
        abort = self._abort
        self.stop()
        if self.gone and abort is not None:
            abort()

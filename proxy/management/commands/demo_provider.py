"""``manage.py demo_provider``: a local provider that makes its answers up."""

from __future__ import annotations

import os
import signal
from argparse import ArgumentParser
from typing import Any

import gevent
from django.core.management.base import BaseCommand, CommandError

from proxy.demo.server import DEMO_KEY, DemoProvider


class Command(BaseCommand):
    help = (
        "Serve a demo provider that speaks the Messages, Chat Completions and "
        "Responses APIs without any real model, until SIGTERM or until the process "
        "that started it is gone."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
        parser.add_argument(
            "--port", type=int, default=8100, help="0: a free one; default: %(default)s"
        )
        parser.add_argument(
            "--key", default=DEMO_KEY, help="the key it accepts; default: %(default)s"
        )
        parser.add_argument(
            "--pace",
            type=float,
            default=0.02,
            help="seconds between streamed words; default: %(default)s",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        provider = DemoProvider(key=options["key"], pace=options["pace"])
        serving = gevent.spawn(
            provider.serve,
            options["host"],
            options["port"],
            on_listening=lambda port: self._say(options["host"], port),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, serving.kill, block=False)
        gevent.spawn(_outlive_not, os.getppid(), serving)
        serving.join()
        if isinstance(serving.exception, OSError):
            raise CommandError(f"cannot listen: {serving.exception}")

    def _say(self, host: str, port: int) -> None:
        self.stdout.write(f"http://{host}:{port}")
        self.stdout.flush()


def _outlive_not(parent: int, serving: gevent.Greenlet) -> None:
    """End the server soon after the process that started this one is gone."""
    while os.getppid() == parent:
        gevent.sleep(0.5)
    serving.kill(block=False)

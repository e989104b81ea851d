"""``manage.py sweep_interceptions``: end what dead workers left in progress."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from interceptions import recording_process, worker
from interceptions.committer import DatabaseAway
from interceptions.sweeper import Sweeper

_LOOKS = 4


class Command(BaseCommand):
    help = (
        "Replay the journals that dead workers left on this machine, then end "
        "interceptions of workers, on any machine, that give no sign of life."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--wait",
            type=float,
            default=settings.AIBRIDGE_SWEEP_SECONDS,
            metavar="SECONDS",
            help="how long to watch for signs of life (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        process = recording_process.current()
        sweeper = Sweeper(process.store, options["wait"])
        try:
            _, ended = worker.adopt_leftovers(process)
            ended += sweeper.sweep()
            for _ in range(_LOOKS - 1):
                time.sleep(options["wait"] / (_LOOKS - 1))
                ended += sweeper.sweep()
        except DatabaseAway as error:
            raise CommandError(f"the database is away: {error}") from error
        self.stdout.write(f"ended: {ended}")

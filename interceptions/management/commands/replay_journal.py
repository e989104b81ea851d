"""``manage.py replay_journal``: store what dead workers left on this machine."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from interceptions import recording_process, worker
from interceptions.committer import DatabaseAway


class Command(BaseCommand):
    help = (
        "Store the journals that dead workers left on this machine, and end their "
        "interceptions. Workers do so themselves when they start; this is for a "
        "machine on which none will."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        process = recording_process.current()
        try:
            replayed, ended = worker.adopt_leftovers(process)
        except DatabaseAway as error:
            raise CommandError(f"the database is away: {error}") from error
        self.stdout.write(f"replayed: {replayed}, ended: {ended}")

"""``manage.py prune_interceptions``: delete interceptions that are too old."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from interceptions import retention


class Command(BaseCommand):
    help = (
        "Delete interceptions older than AIBRIDGE_RETENTION_DAYS with all that belongs "
        "to them. What is in progress stays. Safe to run on every node."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days",
            type=int,
            default=settings.AIBRIDGE_RETENTION_DAYS,
            help="keep so many days; 0 keeps everything (default: %(default)s)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="count only, delete nothing"
        )
        parser.add_argument(
            "--batch",
            type=int,
            default=retention.BATCH,
            help="interceptions in one transaction (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["days"] < 0 or options["batch"] < 1:
            raise CommandError("--days must be 0 or more, --batch 1 or more")
        if options["days"] == 0:
            self.stdout.write("nothing deleted: interceptions are kept for ever")
            return
        before = retention.cutoff(options["days"])
        if options["dry_run"]:
            self._report("would delete", retention.count(before))
            return
        try:
            self._report("deleted", retention.prune(before, batch=options["batch"]))
        except retention.PruningElsewhere:
            self.stdout.write("nothing deleted: another process is deleting")

    def _report(self, what: str, pruned: retention.Pruned) -> None:
        self.stdout.write(
            f"{what}: {pruned.interceptions} interceptions, {pruned.sessions} sessions"
        )

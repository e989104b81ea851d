"""``manage.py backfill_providers``: attribute old interceptions to providers."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from interceptions import backfill, rollup
from interceptions.models import Interception
from providers.models import AiProvider


class Command(BaseCommand):
    help = (
        "Attribute interceptions that name no provider row: by the name they kept, "
        "else by their kind where only one live provider has it. May be run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--batch",
            type=int,
            default=backfill.BATCH,
            help="rows in one transaction (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        found = backfill.attribute(
            Interception._base_manager,
            AiProvider._base_manager,
            batch=max(1, options["batch"]),
            on_batch=rollup.add_provider,
        )
        self.stdout.write(
            f"attributed: {found.attributed}, unattributed: {found.unattributed}"
        )

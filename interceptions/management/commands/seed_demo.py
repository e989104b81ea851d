"""``manage.py seed_demo``: fill the database with made-up traffic."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from interceptions.demo.base import make_providers, make_users
from interceptions.demo.loading import store, whole_load
from interceptions.demo.traffic import Traffic
from interceptions.facets import KINDS
from interceptions.models import Facet, Interception, Session
from interceptions.moments import parse_moment

_PER_SESSION = 6.25


class Command(BaseCommand):
    help = (
        "Fill an empty database with made-up users, providers and traffic. Providers "
        "point at addresses that do not exist, and users have no password."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--interceptions", type=int, default=200, metavar="N")
        parser.add_argument(
            "--sessions", type=int, metavar="N", help="default: a sixth of them"
        )
        parser.add_argument("--users", type=int, default=24, metavar="N")
        parser.add_argument("--days", type=float, default=30, help="how far back")
        parser.add_argument(
            "--seed", type=int, default=1, help="another gives other rows"
        )
        parser.add_argument("--until", help="when it ends, RFC 3339; default: now")

    def handle(self, **options: Any) -> None:
        total = options["interceptions"]
        sessions = options["sessions"] or max(1, round(total / _PER_SESSION))
        if total < 1 or not 1 <= sessions <= total or options["users"] < 1:
            raise CommandError("use at least one user, session and interception")
        if Interception.objects.exists():
            raise CommandError("there are interceptions already; use an empty database")
        now = _until(options["until"])
        traffic = Traffic(
            make_users(options["users"]),
            make_providers(now),
            until=now,
            days=options["days"],
            seed=options["seed"],
        )
        self._store(traffic, total, sessions, quiet=options["verbosity"] < 2)
        _note_facets()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")
        found = Session.objects.count()
        self.stdout.write(f"{total} interceptions in {found} sessions")

    def _store(self, traffic: Traffic, total: int, sessions: int, quiet: bool) -> None:
        stored = 0
        with whole_load():
            for tables in traffic.batches(total, sessions):
                store(tables)
                stored += len(tables["Interception"])
                if not quiet:
                    self.stderr.write(f"{stored:,} of {total:,} interceptions")


def _until(text: str | None) -> datetime:
    moment = parse_moment(text) if text else timezone.now()
    if moment is None:
        raise CommandError(f"--until {text!r} is not a timestamp")
    return moment


def _note_facets() -> None:
    for column, kind in KINDS.items():
        values = Interception.objects.order_by().values_list(column, flat=True)
        Facet.objects.bulk_create(
            [Facet(kind=kind, value=value) for value in values.distinct() if value],
            ignore_conflicts=True,
        )

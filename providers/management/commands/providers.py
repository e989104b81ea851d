"""``manage.py providers``: add, list, switch, delete and restore providers."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction
from django.utils import timezone

from providers import audit, upkeep
from providers.health import provider_health
from providers.kinds import KINDS
from providers.management.operator import OperatorCommand, add_format, operator_name
from providers.models import AiProvider
from providers.seeds import create_provider

_COLUMNS = ("name", "kind", "state", "keys", "base_url")


class Command(OperatorCommand):
    help = "Add, list, enable, disable, delete and restore AI providers."

    def add_verbs(self, verbs: Any) -> None:
        add = verbs.add_parser("add", help="add a provider; prints its name")
        _add_arguments(add)
        add.set_defaults(run=self.add)
        rows = verbs.add_parser("list", help="list the providers")
        rows.add_argument(
            "--deleted", action="store_true", help="list the deleted ones instead"
        )
        add_format(rows)
        rows.set_defaults(run=self.list)
        for verb, run, says in (
            ("enable", self.enable, "answer requests again"),
            ("disable", self.disable, "answer requests with 503; keeps everything"),
            ("delete", self.delete, "take it out; its history and keys are kept"),
            ("restore", self.restore, "bring a deleted provider back, disabled"),
        ):
            parser = verbs.add_parser(verb, help=says)
            parser.add_argument("name", metavar="NAME")
            parser.set_defaults(run=run)

    def add(self, options: dict[str, Any]) -> None:
        kind = options["kind"]
        base_url = options["base_url"] or KINDS[kind].default_base_url
        keys = tuple(key for given in options["key"] for key in read_secrets(given))
        with transaction.atomic():
            provider = create_provider(options["name"], kind, base_url, keys)
            audit.record(operator_name(), "create", provider, audit.snapshot(provider))
        self.print(provider.name)

    def list(self, options: dict[str, Any]) -> None:
        rows = _deleted_rows() if options["deleted"] else _live_rows()
        self.print_rows(_COLUMNS, rows, style=options["format"])

    def enable(self, options: dict[str, Any]) -> None:
        self._switch(options["name"], True)

    def disable(self, options: dict[str, Any]) -> None:
        self._switch(options["name"], False)

    def delete(self, options: dict[str, Any]) -> None:
        provider = live_provider(options["name"])
        upkeep.soft_delete(provider, actor=operator_name())
        self.print(provider.name)

    def restore(self, options: dict[str, Any]) -> None:
        deleted = AiProvider.all_objects.exclude(deleted_at=None)
        provider = deleted.filter(name=options["name"]).order_by("-deleted_at").first()
        if provider is None:
            raise CommandError(f"no deleted provider is named {options['name']!r}")
        upkeep.restore(provider, actor=operator_name())
        self.print(provider.name)

    def _switch(self, name: str, enabled: bool) -> None:
        provider = live_provider(name)
        upkeep.set_enabled(provider, enabled, actor=operator_name())
        self.print(provider.name)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="its segment in clients' URLs")
    parser.add_argument("--kind", required=True, choices=sorted(KINDS))
    parser.add_argument("--base-url", default="", help="default: the kind's own")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="SECRET",
        help="a key, in the order of trying; repeat it for more, "
        "or give - to read one from each line of stdin",
    )


def read_secrets(given: str) -> list[str]:
    """Return the secrets of a ``--key``: itself, or the lines of stdin for ``-``."""
    if given != "-":
        return [given]
    return [line.strip() for line in sys.stdin if line.strip()]


def live_provider(name: str) -> AiProvider:
    """Return the provider; raises CommandError when there is none of this name."""
    provider = AiProvider.objects.filter(name=name).first()
    if provider is None:
        raise CommandError(f"no provider is named {name!r}")
    return provider


def _live_rows() -> list[tuple[str, ...]]:
    return [
        (
            health.provider.name,
            health.provider.kind,
            health.state,
            f"{health.healthy}/{len(health.keys)}" if health.needs_keys else "",
            health.provider.base_url,
        )
        for health in provider_health(timezone.now())
    ]


def _deleted_rows() -> list[tuple[str, ...]]:
    deleted = AiProvider.all_objects.exclude(deleted_at=None).order_by("name", "id")
    return [(row.name, row.kind, "deleted", "", row.base_url) for row in deleted]

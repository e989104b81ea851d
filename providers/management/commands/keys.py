"""``manage.py keys``: add, list, test and return the keys of a provider's pool."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from providers import upkeep
from providers.health import key_health
from providers.management.commands.providers import live_provider, read_secrets
from providers.management.operator import OperatorCommand, add_format, operator_name
from providers.models import ApiKey

_COLUMNS = ("position", "hint", "label", "state", "reason", "until", "last_used_at")


class Command(OperatorCommand):
    help = "Add, list, test and return to service the keys of a provider."

    def add_verbs(self, verbs: Any) -> None:
        add = verbs.add_parser("add", help="append a key; prints its hint")
        add.add_argument("provider", metavar="PROVIDER")
        add.add_argument(
            "--key",
            required=True,
            metavar="SECRET",
            help="the key, or - to read one from each line of stdin",
        )
        add.add_argument("--label", default="", help="for people")
        add.set_defaults(run=self.add)
        rows = verbs.add_parser("list", help="list keys in the order of trying")
        rows.add_argument("provider", metavar="PROVIDER")
        add_format(rows)
        rows.set_defaults(run=self.list)
        for verb, run, says in (
            ("test", self.test, "ask upstream whether it accepts a key"),
            ("return", self.put_back, "put a resting or retired key back into service"),
        ):
            parser = verbs.add_parser(verb, help=says)
            parser.add_argument("provider", metavar="PROVIDER")
            parser.add_argument("key", metavar="KEY", help="position, label or hint")
            parser.set_defaults(run=run)

    def add(self, options: dict[str, Any]) -> None:
        provider = live_provider(options["provider"])
        secrets = read_secrets(options["key"])
        if not secrets:
            raise CommandError("stdin held no key")
        labelled = [(secret, options["label"]) for secret in secrets]
        keys = upkeep.add_keys(provider, labelled, actor=operator_name())
        self.print("\n".join(key.hint for key in keys))

    def list(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        keys = [
            key_health(key, now)
            for key in live_provider(options["provider"]).keys.all()
        ]
        rows = [
            (
                health.key.position,
                health.key.hint,
                health.key.label,
                health.state,
                health.reason,
                health.until,
                health.key.last_used_at,
            )
            for health in keys
        ]
        self.print_rows(_COLUMNS, rows, style=options["format"])

    def test(self, options: dict[str, Any]) -> None:
        key = find_key(options["provider"], options["key"])
        result = upkeep.test_key(key, actor=operator_name())
        if not result.ok:
            raise CommandError(result.message)
        self.print(result.message)

    def put_back(self, options: dict[str, Any]) -> None:
        key = find_key(options["provider"], options["key"])
        if not upkeep.return_to_service(key, actor=operator_name()):
            raise CommandError(f"{key} is in service")
        self.print(key.hint)


def find_key(provider_name: str, wanted: str) -> ApiKey:
    """Return the one key with this position, label or hint; raises CommandError."""
    provider = live_provider(provider_name)
    found = [
        key
        for key in provider.keys.all()
        if wanted in {str(key.position), key.label, key.hint, str(key.pk)}
    ]
    if len(found) != 1:
        problem = "no key" if not found else f"{len(found)} keys"
        raise CommandError(f"{problem} of {provider_name} match {wanted!r}")
    return found[0]

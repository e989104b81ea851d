"""``manage.py tokens``: create, list and revoke gateway tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.utils import timezone

from providers.management.operator import OperatorCommand, add_format, operator_name
from proxy import tokens
from proxy.models import GatewayToken

_COLUMNS = ("prefix", "name", "user", "state", "expires_at", "last_used_at")


class Command(OperatorCommand):
    help = "Create, list and revoke the tokens that clients show to the gateway."

    def add_verbs(self, verbs: Any) -> None:
        create = verbs.add_parser(
            "create", help="create a token; prints it, this once and never again"
        )
        create.add_argument("--user", required=True, metavar="NAME", help="its owner")
        create.add_argument("--name", required=True, help="what it is for")
        create.add_argument(
            "--days", type=int, metavar="N", help="expires after N days; default: never"
        )
        create.set_defaults(run=self.create)
        revoke = verbs.add_parser(
            "revoke", help="refuse a token from now on; prints its prefix"
        )
        revoke.add_argument(
            "prefix", metavar="PREFIX", help="the part after aib_, as lists show it"
        )
        revoke.set_defaults(run=self.revoke)
        rows = verbs.add_parser("list", help="list tokens, newest first")
        rows.add_argument("--user", metavar="NAME", help="only this owner's")
        add_format(rows)
        rows.set_defaults(run=self.list)

    def create(self, options: dict[str, Any]) -> None:
        days = options["days"]
        if days is not None and days < 1:
            raise CommandError("--days: use a whole number from 1")
        owner = find_user(options["user"])
        expires_at = timezone.now() + timedelta(days=days) if days else None
        _, raw = tokens.create(
            owner, options["name"], expires_at, actor=operator_name()
        )
        self.print(raw)

    def revoke(self, options: dict[str, Any]) -> None:
        prefix = public_prefix(options["prefix"])
        row = GatewayToken.objects.filter(prefix=prefix).first()
        if row is None:
            raise CommandError(f"no token has the prefix {prefix!r}")
        tokens.revoke(row, actor=operator_name())
        self.print(row.prefix)

    def list(self, options: dict[str, Any]) -> None:
        found = GatewayToken.objects.select_related("owner")
        if options["user"]:
            found = found.filter(owner=find_user(options["user"]))
        now = timezone.now()
        rows = [
            (
                row.prefix,
                row.name,
                row.owner.get_username(),
                tokens.state(row, now),
                row.expires_at,
                row.last_used_at,
            )
            for row in found
        ]
        self.print_rows(_COLUMNS, rows, style=options["format"])


def find_user(name: str) -> Any:
    """Return the user; raises CommandError when there is none of this name."""
    users = get_user_model()
    try:
        return users.objects.get_by_natural_key(name)
    except users.DoesNotExist:
        raise CommandError(f"no user is named {name!r}") from None


def public_prefix(given: str) -> str:
    """Return the prefix of what may be a prefix, ``aib_prefix`` or a whole token."""
    return given.removeprefix("aib_").partition("_")[0]

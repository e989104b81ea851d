"""``manage.py users``: add the people who log in or call the gateway."""

from __future__ import annotations

from typing import Any

from interceptions.people import GROUPS, add_user, new_password
from providers.management.operator import OperatorCommand, operator_name


class Command(OperatorCommand):
    help = "Add people: administrators, auditors and members."

    def add_verbs(self, verbs: Any) -> None:
        add = verbs.add_parser(
            "add", help="add a user; prints the password when it was generated"
        )
        add.add_argument("name", metavar="NAME")
        add.add_argument(
            "--role",
            required=True,
            choices=sorted(GROUPS),
            help="admin: everything; auditor: reads everybody's interceptions; "
            "member: own tokens only",
        )
        add.add_argument(
            "--password", help="default: one is generated and printed, this once"
        )
        add.set_defaults(run=self.add)

    def add(self, options: dict[str, Any]) -> None:
        given = options["password"]
        password = given or new_password()
        add_user(options["name"], options["role"], password, actor=operator_name())
        self.print(options["name"] if given else password)

"""``manage.py users``: add the people who log in or call the gateway."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from providers import audit
from providers.management.operator import OperatorCommand, operator_name

GROUPS = {"admin": "Administrators", "auditor": "Auditors", "member": ""}


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


def new_password() -> str:
    """Return a password that nobody guesses and that can be typed."""
    return secrets.token_urlsafe(12)


def add_user(name: str, role: str, password: str, *, actor: str) -> Any:
    """Store an active user in a role of ``GROUPS``; raises ValidationError."""
    user = get_user_model()(username=name, is_staff=role != "member")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from None
    user.set_password(password)
    user.full_clean()
    with transaction.atomic():
        user.save()
        if GROUPS[role]:
            user.groups.add(Group.objects.get_or_create(name=GROUPS[role])[0])
        audit.record(actor, "create", user, {"role": role})
    return user

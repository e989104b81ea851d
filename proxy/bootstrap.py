"""What a first start stores: providers, an administrator, and a token to call with.

Each is done once. A later start changes nothing and only tells what differs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from interceptions.people import add_user, new_password
from providers import audit, seeds
from providers.seeds import Seed
from proxy import tokens

logger = logging.getLogger(__name__)

ADMIN = "admin"
_TOKEN = "first run"
_ACTOR = "first run"


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What was made and is shown only now; empty when it existed."""

    password: str = ""
    token: str = ""


def store_seeds(found: list[Seed]) -> None:
    """Store providers named in the environment; warn of those that differ by now."""
    for seed in found:
        with transaction.atomic():
            provider = seeds.store(seed)
            if provider is not None:
                audit.record(
                    "environment", "create", provider, audit.snapshot(provider)
                )
        if provider is None and (differing := seeds.drift(seed)):
            logger.warning(
                "provider differs from the environment and is left as it is",
                extra={
                    "provider": seed.name,
                    "setting": seed.source,
                    "differs": ", ".join(differing),
                },
            )


def store_first_admin() -> FirstRun:
    """Store an administrator with a token, unless there is any user."""
    if get_user_model().objects.exists():
        return FirstRun()
    password = new_password()
    try:
        with transaction.atomic():
            admin = add_user(ADMIN, "admin", password, actor=_ACTOR)
            _, token = tokens.create(admin, _TOKEN, None, actor=_ACTOR)
    except IntegrityError:
        # Another node was faster; its output has the password.
        return FirstRun()
    return FirstRun(password, token)

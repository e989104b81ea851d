"""``manage.py bootstrap``: store what a first start needs, and print how to connect."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from providers.management.operator import unusable_database
from providers.models import AiProvider
from providers.seeds import read_seeds
from proxy.bootstrap import store_first_admin, store_seeds
from proxy.welcome import welcome


class Command(BaseCommand):
    help = (
        "Store the providers that the environment names, and on the very first run an "
        "administrator and a gateway token. Prints how to connect, and these secrets "
        "once. A later run changes nothing. Run migrate before."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            store_seeds(read_seeds())
            first = store_first_admin()
            providers = list(AiProvider.objects.filter(enabled=True))
        except DatabaseError as error:
            raise CommandError(unusable_database(error)) from error
        self.stdout.write(welcome(settings.AIBRIDGE_PUBLIC_URL, providers, first))

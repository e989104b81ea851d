"""Questions about records, each asked in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


class InterceptionQuerySet(models.QuerySet):
    """Interceptions as their readers ask for them."""

    def for_initiator(
        self, user: AbstractBaseUser | AnonymousUser
    ) -> InterceptionQuerySet:
        """Return only what this user asked for."""
        return self.filter(initiator_id=user.pk)


class SessionQuerySet(models.QuerySet):
    """Sessions as their readers ask for them."""

    def for_initiator(self, user: AbstractBaseUser | AnonymousUser) -> SessionQuerySet:
        """Return only this user's sessions."""
        return self.filter(initiator_id=user.pk)

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

    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> InterceptionQuerySet:
        """Return what this user may read: everything, the own rows, or nothing."""
        from interceptions.permissions import may_read_all, may_read_own

        if may_read_all(user):
            return self.all()
        return self.for_initiator(user) if may_read_own(user) else self.none()


class SessionQuerySet(models.QuerySet):
    """Sessions as their readers ask for them."""

    def for_initiator(self, user: AbstractBaseUser | AnonymousUser) -> SessionQuerySet:
        """Return only this user's sessions."""
        return self.filter(initiator_id=user.pk)

    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> SessionQuerySet:
        """Return what this user may read: everything, the own rows, or nothing."""
        from interceptions.permissions import may_read_all, may_read_own

        if may_read_all(user):
            return self.all()
        return self.for_initiator(user) if may_read_own(user) else self.none()

"""Questions about records, each asked in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

    from providers.models import AiProvider

_READ_ALL = "interceptions.view_interception"


class _InitiatedQuerySet(models.QuerySet):
    """Rows that somebody initiated."""

    def for_initiator(self, user: User | AnonymousUser) -> Self:
        """Return only what this user asked for."""
        return self.filter(initiator_id=user.pk)

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """Return what this user may read: everything, the own rows, or nothing."""
        if not user.is_active:
            return self.none()
        if user.has_perm(_READ_ALL):
            return self.all()
        if settings.AIBRIDGE_MEMBERS_READ_OWN:
            return self.for_initiator(user)
        return self.none()


class InterceptionQuerySet(_InitiatedQuerySet):
    """Interceptions as their readers ask for them."""

    def for_provider(self, provider: AiProvider) -> InterceptionQuerySet:
        """Return the interceptions of a provider, live or deleted.

        Rows that name no provider row (from before there was one, or after it was
        deleted for good) count by the name they kept, and those without a name by
        their kind, but only where exactly one provider can be meant.
        """
        own, kept = Q(provider=provider), self._kept(provider)
        # Without the alternative, an index gives the rows in their order.
        return self.filter(own if kept is None else own | kept)

    def kept_for(self, provider: AiProvider) -> InterceptionQuerySet | None:
        """Return those of a provider that name no provider row, None without any."""
        kept = self._kept(provider)
        return None if kept is None else self.filter(kept)

    def _kept(self, provider: AiProvider) -> Q | None:
        by_name = Q(provider=None, provider_name=provider.name)
        by_kind = Q(provider=None, provider_name="", provider_kind=provider.kind)
        if not self.model._base_manager.filter(by_name | by_kind).exists():
            return None
        meant = Q(pk__in=[])
        if _is_meant_alone(provider, name=provider.name):
            meant |= by_name
        if _is_meant_alone(provider, kind=provider.kind):
            meant |= by_kind
        return meant

    def unattributed(self) -> InterceptionQuerySet:
        """Return the interceptions that name no provider row."""
        return self.filter(provider=None)


class SessionQuerySet(_InitiatedQuerySet):
    """Sessions as their readers ask for them."""


def _is_meant_alone(provider: AiProvider, **description: str) -> bool:
    """Whether this is the only provider described so; live ones before deleted ones."""
    described = type(provider)._base_manager.filter(**description)
    live = list(described.filter(deleted_at=None).values_list("pk", flat=True)[:2])
    found = live or list(described.values_list("pk", flat=True)[:2])
    return found == [provider.pk]

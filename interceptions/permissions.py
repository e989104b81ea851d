"""Who may read interceptions: auditors all, members their own where that is allowed.

The rules are D10's; docs/permissions.md shows what follows for every URL.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

READ_ALL = "interceptions.view_interception"


def may_read_all(user: Any) -> bool:
    """Return whether this user may read everybody's interceptions."""
    return bool(user.is_active and user.has_perm(READ_ALL))


def may_read_own(user: Any) -> bool:
    """Return whether this user may read at least the own interceptions."""
    if may_read_all(user):
        return True
    return bool(user.is_authenticated and settings.AIBRIDGE_MEMBERS_READ_OWN)


class ReadsInterceptions(BasePermission):
    """Lets in who may read some interceptions; which ones is the queryset's matter."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return may_read_own(request.user)


class ReadsEverything(BasePermission):
    """Lets in auditors: names of models, clients and providers are everybody's."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return may_read_all(request.user)


def readable(user: Any, rows: QuerySet) -> QuerySet:
    """Return the interceptions or sessions among ``rows`` that this user may read."""
    return rows.visible_to(user)  # type: ignore[attr-defined]

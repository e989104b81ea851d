"""Who may do what with gateway tokens: everybody with the own, administrators with all.

A token that is not the caller's is 404 for who is no administrator.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from proxy.models import GatewayToken

MANAGE_ALL = "proxy.change_gatewaytoken"


class OwnsTokens(BasePermission):
    """Lets in who is logged in; which tokens are meant is the queryset's matter."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user and request.user.is_authenticated)


def may_manage_all(user: Any) -> bool:
    """Return whether this user manages other people's tokens."""
    return bool(user.has_perm(MANAGE_ALL))


def manageable(user: Any) -> QuerySet:
    """Return the tokens this user may see and change."""
    tokens = GatewayToken.objects.select_related("owner")
    return tokens if may_manage_all(user) else tokens.filter(owner_id=user.pk)

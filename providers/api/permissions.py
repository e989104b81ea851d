"""Who may do what, by Django's model permissions (the roles migration grants them)."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

_VERBS = {
    "GET": "view",
    "HEAD": "view",
    "POST": "add",
    "PUT": "change",
    "PATCH": "change",
    "DELETE": "delete",
}


class Nobody(BasePermission):
    """The default: a view that names no permission lets nobody in."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return False


class ModelPermission(BasePermission):
    """Asks for the permission on the view's ``model`` that fits the method.

    A view whose POST does not add a row says in ``verbs`` what it does.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        verbs = _VERBS | getattr(view, "verbs", {})
        verb = verbs.get(request.method or "")
        if verb is None:
            # An unknown method is 405 for those who may look.
            verb = "view"
        label, name = view.model._meta.app_label, view.model._meta.model_name
        return bool(request.user.has_perm(f"{label}.{verb}_{name}"))

"""Admin pages whose changes are audited and whose history is the audit trail."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.admin.utils import unquote
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Model, Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from providers import audit
from providers.encryption import UndecryptableSecret
from providers.models import AuditEvent

PAGE = 50


class AuditedAdmin:
    """Mixin: records create and change, shows history; needs a ModelAdmin beside it."""

    history_title = "History"

    def save_model(
        self, request: HttpRequest, obj: Model, form: Any, change: bool
    ) -> None:
        """Save and audit in one transaction."""
        with transaction.atomic():
            before = _told(type(obj)._base_manager.get(pk=obj.pk)) if change else {}
            super().save_model(request, obj, form, change)  # type: ignore[misc]
            changes = audit.difference(before, _told(obj))
            if changes or not change:
                action = "change" if change else "create"
                audit.record(request.user, action, obj, changes)

    def log_addition(self, *args: Any) -> None:
        """Keep Django's second log empty: the audit trail has it all."""

    log_change = log_addition
    log_deletions = log_addition

    def history_targets(self, obj: Model) -> Q:
        """Return the condition on audit events that belong to this object."""
        return targeting(obj)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Show the object's audit trail; 404 for an object one may not see."""
        admin: Any = self
        obj = admin.get_object(request, unquote(object_id))
        if obj is None or not admin.has_view_permission(request, obj):
            return admin._get_obj_does_not_exist_redirect(
                request, admin.opts, object_id
            )
        events = AuditEvent.objects.filter(self.history_targets(obj))
        context = {
            **admin.admin_site.each_context(request),
            "title": f"{self.history_title}: {obj}",
            "opts": admin.opts,
            "object": obj,
            "page": Paginator(events, PAGE).get_page(request.GET.get("p")),
        }
        request.current_app = admin.admin_site.name
        return TemplateResponse(request, "aibridge/history.html", context)


def targeting(*targets: Model) -> Q:
    """Return the condition on audit events of these rows."""
    found = Q(pk=UUID(int=0))
    for target in targets:
        name = target._meta.model_name
        found |= Q(target_type=name, target_id=str(target.pk))
    return found


def _told(obj: Model) -> dict[str, Any]:
    try:
        return audit.snapshot(obj)
    except UndecryptableSecret:
        # A secret nobody can read any more must not keep it from being replaced.
        return {}

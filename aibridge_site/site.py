"""The admin site: who may come in, and which page they meet first.

What a person sees behind the door is decided by each page's own permissions.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.sites import UnfoldAdminSite

from aibridge_site.logins import LoginForm


class Site(UnfoldAdminSite):
    """AI Bridge's pages for administrators, auditors and members."""

    login_form = LoginForm
    index_title = "Overview"
    empty_value_display = "–"

    def has_permission(self, request: HttpRequest) -> bool:
        """Let every active user in: members have their own tokens here."""
        return request.user.is_active

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the overview, or a member how to connect."""
        from aibridge_site import dashboard

        if not dashboard.may_see(request.user):
            return redirect(f"{self.name}:proxy_gatewaytoken_connect")
        context = {
            **self.each_context(request),
            "title": self.index_title,
            **dashboard.overview(request.user, request.GET.get("range", "")),
            **(extra_context or {}),
        }
        request.current_app = self.name
        return TemplateResponse(request, "aibridge/overview.html", context)

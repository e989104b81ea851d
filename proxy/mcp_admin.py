"""The pages of MCP servers; *List tools* asks a server what it offers right now."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanSwitchWidget

from providers import audit
from providers.auditing import AuditedAdmin
from providers.encryption import UndecryptableSecret
from proxy.catalogue import list_now
from proxy.models import McpServer

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET_COLUMN = "headers"


def parse_headers(text: str) -> dict[str, str]:
    """Return the headers of lines ``Name: value``; raises ValidationError."""
    headers = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, found, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not found or not _HEADER_NAME.fullmatch(name) or not value.isprintable():
            raise ValidationError(f"Line {number} is not of the form Name: value.")
        headers[name] = value
    return headers


class McpServerForm(forms.ModelForm):
    """A server; its headers go in and never come out."""

    new_headers = forms.CharField(
        label="Headers",
        required=False,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 2, "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    clear_headers = forms.BooleanField(
        label="Remove the stored headers",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
    )

    class Meta:
        model = McpServer
        fields = ("name", "url", "enabled", "allow_pattern", "deny_pattern", "timeout")
        labels = {"url": "URL", "allow_pattern": "Allow", "deny_pattern": "Deny"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = ", ".join(stored_header_names(self.instance)) or "none"
        self.fields["new_headers"].help_text = (
            "Sent with every request, one a line: Authorization: Bearer … "
            "Stored encrypted and never shown again; empty keeps what is stored "
            f"({names})."
        )

    def clean_new_headers(self) -> dict[str, str]:
        return parse_headers(self.cleaned_data["new_headers"])

    def save(self, commit: bool = True) -> McpServer:
        if headers := self.cleaned_data["new_headers"]:
            self.instance.headers = json.dumps(headers)
        elif self.cleaned_data["clear_headers"]:
            self.instance.headers = ""
        row: McpServer = super().save(commit)
        return row


def stored_header_names(server: McpServer) -> list[str]:
    """Return the names of a server's headers, never their values."""
    try:
        return list(json.loads(server.headers)) if server.headers else []
    except (UndecryptableSecret, ValueError):
        return ["unreadable"]


@admin.register(McpServer)
class McpServerAdmin(AuditedAdmin, ModelAdmin):
    """Which MCP servers models get tools of."""

    form = McpServerForm
    list_display = ("name", "url", "enabled", "allow_pattern", "deny_pattern")
    list_filter = ("enabled",)
    list_filter_sheet = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("name", "url")
    search_help_text = "Name or URL"
    ordering = ("name",)
    actions = ("enable", "disable")
    change_form_template = "aibridge/mcp_server.html"
    empty_hint = (
        "Tools of an MCP server are offered to every model, and the gateway runs them "
        "when a model calls them."
    )
    fieldsets = (
        (None, {"fields": ("name", "url", "enabled")}),
        ("Secrets", {"fields": ("new_headers", "clear_headers")}),
        ("Tools", {"fields": ("allow_pattern", "deny_pattern", "timeout")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows: QuerySet = super().get_queryset(request)
        return rows.defer(_SECRET_COLUMN)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet) -> None:
        self._switch(request, queryset, True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet, enabled: bool) -> None:
        for row in queryset.exclude(enabled=enabled):
            row.enabled = enabled
            row.save(update_fields=("enabled", "updated_at"))
            audit.record(
                request.user, "change", row, {"enabled": [not enabled, enabled]}
            )
        self.message_user(request, "Enabled." if enabled else "Disabled.")

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<uuid:pk>/tools/",
                self.admin_site.admin_view(self.tools_view),
                name="proxy_mcpserver_tools",
            ),
            *super().get_urls(),
        ]

    def tools_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Ask the server for its tools and show which of them models get (POST)."""
        server = self.get_object(request, str(pk))
        if request.method != "POST" or server is None:
            raise Http404
        if not self.has_change_permission(request, server):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": f"Tools of {server}",
            "opts": self.opts,
            "object": server,
            "listing": list_now(server),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "aibridge/mcp_tools.html", context)

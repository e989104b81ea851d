"""The pages of gateway tokens, and the one that tells how to connect a client."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from interceptions.models import Facet
from providers.auditing import AuditedAdmin
from providers.kinds import CHAT, KINDS, MESSAGES, spec_of
from providers.models import AiProvider
from proxy import mcp_admin, tokens
from proxy.api.permissions import may_manage_all
from proxy.models import GatewayToken
from proxy.recipes import PLACEHOLDER, Target, recipes_for

__all__ = ["TokenAdmin", "mcp_admin"]

LIFETIMES = (("90", "90 days"), ("30", "30 days"), ("365", "1 year"), ("", "No end"))


class TokenForm(forms.Form):
    """What a new token is for, how long it lives and, for some, whose it is."""

    name = forms.CharField(
        max_length=100,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "my laptop"}),
        help_text="What it is for, for example the machine.",
    )
    lifetime = forms.ChoiceField(
        choices=LIFETIMES,
        initial="90",
        required=False,
        label="Expires after",
        widget=UnfoldAdminSelectWidget(),
    )
    owner = forms.ModelChoiceField(
        queryset=get_user_model().objects.none(),
        to_field_name="username",
        widget=UnfoldAdminTextInputWidget(attrs={"list": "owners"}),
        error_messages={"invalid_choice": "No active user has this name."},
        help_text="Requests with the token are this user's.",
    )

    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if may_manage_all(user):
            active = get_user_model().objects.filter(is_active=True)
            self.fields["owner"].queryset = active
            self.fields["owner"].initial = user.get_username()
        else:
            del self.fields["owner"]

    def expires_at(self) -> Any:
        """Return the end of the token's life, None for no end."""
        days = self.cleaned_data["lifetime"]
        return timezone.now() + timedelta(days=int(days)) if days else None


class StateFilter(admin.SimpleListFilter):
    """Tokens by what has become of them."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(tokens.STATE_LABELS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() is None:
            return queryset
        return queryset.filter(tokens.in_state(self.value(), timezone.now()))


@admin.register(GatewayToken)
class TokenAdmin(AuditedAdmin, ModelAdmin):
    """Everybody's own tokens; administrators see and manage all of them."""

    list_filter = (StateFilter,)
    list_filter_sheet = False
    show_facets = admin.ShowFacets.NEVER
    search_help_text = "Name, prefix or owner"
    search_fields = ("name", "prefix", "owner__username")
    list_select_related = ("owner",)
    ordering = ("-id",)
    actions = ("revoke",)
    list_before_template = "aibridge/parts/tokens_hint.html"
    empty_hint = "Create a token, and copy ready-made settings for your client with it."

    # Who may
    def _manages(self, request: HttpRequest) -> bool:
        return may_manage_all(request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None or self._manages(request):
            return request.user.is_active
        return obj.owner_id == request.user.pk

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say yes for what one may see: the only change there is, is revoking."""
        return self.has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no: a revoked token stays, so that its interceptions can be traced."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = super().get_queryset(request)
        return rows if self._manages(request) else rows.filter(owner=request.user)

    # List
    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        whose = ("owner",) if self._manages(request) else ()
        return ("name", "shown_prefix", *whose, "state", "expires", "used", "created")

    @admin.display(description="Token")
    def shown_prefix(self, token: GatewayToken) -> str:
        return f"aib_{token.prefix}_…"

    @admin.display(description="State")
    def state(self, token: GatewayToken) -> str:
        name = tokens.state(token, timezone.now())
        context = {"state": name, "label": tokens.STATE_LABELS[name]}
        return render_to_string("aibridge/parts/badge.html", context)

    @admin.display(description="Expires", ordering="expires_at", empty_value="never")
    def expires(self, token: GatewayToken) -> str | None:
        return _when(token.expires_at) if token.expires_at else None

    @admin.display(description="Last used", ordering="last_used_at")
    def used(self, token: GatewayToken) -> str:
        return _when(token.last_used_at)

    @admin.display(description="Created", ordering="id")
    def created(self, token: GatewayToken) -> str:
        return _when(token.created_at)

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet) -> None:
        count = sum(tokens.revoke(token, actor=request.user) for token in queryset)
        self.message_user(request, f"{count} revoked.")

    # Pages
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path(
                "connect/", view(self.connect_view), name="proxy_gatewaytoken_connect"
            ),
            path(
                "<uuid:pk>/revoke/",
                view(self.revoke_view),
                name="proxy_gatewaytoken_revoke",
            ),
            *super().get_urls(),
        ]

    def connect_view(self, request: HttpRequest) -> HttpResponse:
        """Tell how to connect, with the user's own tokens beside it."""
        return self._connect(request, TokenForm(request.user))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Create a token and show it, this once, inside ready-made settings."""
        if request.method != "POST":
            return self._connect(request, TokenForm(request.user))
        form = TokenForm(request.user, request.POST)
        if not form.is_valid():
            return self._connect(request, form)
        owner = form.cleaned_data.get("owner") or request.user
        row, raw = tokens.create(
            owner, form.cleaned_data["name"], form.expires_at(), actor=request.user
        )
        return self._connect(request, TokenForm(request.user), token=row, raw=raw)

    def _connect(
        self,
        request: HttpRequest,
        form: TokenForm,
        *,
        token: GatewayToken | None = None,
        raw: str = "",
    ) -> HttpResponse:
        mine = GatewayToken.objects.filter(owner=request.user, revoked_at=None)
        context = {
            **self.admin_site.each_context(request),
            "title": "Connect a client",
            "form": form,
            "manages": self._manages(request),
            "token": token,
            "raw": raw,
            "own_tokens": [
                (row, tokens.state(row, timezone.now())) for row in mine[:20]
            ],
            "guides": guides(raw or PLACEHOLDER),
            "public_url": settings.AIBRIDGE_PUBLIC_URL,
        }
        request.current_app = self.admin_site.name
        answer = TemplateResponse(request, "aibridge/connect.html", context)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """Show what a token is for and what became of it, never the token itself."""
        token = self.get_object(request, object_id)
        if token is None:
            raise Http404
        name = tokens.state(token, timezone.now())
        context = {
            **self.admin_site.each_context(request),
            "title": token.name,
            "opts": self.opts,
            "object": token,
            "original": token,
            "change": True,
            "state": name,
            "state_label": tokens.STATE_LABELS[name],
            "sees_owner": request.user.has_perm("auth.view_user"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "aibridge/token.html", context)

    def revoke_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Revoke a token (POST only)."""
        token = self.get_object(request, str(pk))
        if request.method != "POST" or token is None:
            raise Http404
        if tokens.revoke(token, actor=request.user):
            self.message_user(request, f"{token} is revoked.")
        return redirect(reverse("admin:proxy_gatewaytoken_change", args=[token.pk]))


def _when(moment: Any) -> str:
    return render_to_string("aibridge/parts/when.html", {"moment": moment})


def guides(token: str) -> list[dict[str, Any]]:
    """Return each usable provider with its clients' settings."""
    models = list(Facet.objects.filter(kind="model").values_list("value", flat=True))
    providers = AiProvider.objects.filter(enabled=True).defer("secret_options")
    return [
        {
            "provider": row,
            "recipes": recipes_for(
                row.kind,
                Target(
                    settings.AIBRIDGE_PUBLIC_URL,
                    row.name,
                    token,
                    _familiar_model(row.kind, models),
                ),
            ),
        }
        for row in providers
        if row.kind in KINDS
    ]


def _familiar_model(kind: str, models: list[str]) -> str:
    """Return a model that was seen here and fits the kind, "" for none."""
    shapes = spec_of(kind).bridged.values()
    if MESSAGES in shapes and CHAT not in shapes:
        return next((name for name in models if name.startswith("claude")), "")
    return next((name for name in models if name.startswith("gpt")), "")

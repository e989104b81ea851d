"""The pages of providers and of the audit trail; keys have theirs in ``keyadmin``."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from providers import keyadmin, upkeep
from providers.auditing import AuditedAdmin, targeting
from providers.forms import OPTIONS, SECRET_OPTIONS, AddKeysForm, ProviderForm
from providers.health import ProviderHealth, key_health, load_error, with_key_counts
from providers.kinds import KINDS
from providers.linkless import LinklessList
from providers.models import AiProvider, AuditEvent

__all__ = ["AuditEventAdmin", "ProviderAdmin", "keyadmin"]

_FIXED = ("kind", "name")


class StatusFilter(admin.SimpleListFilter):
    """Deleted providers are shown only when asked for."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("enabled", "Enabled"),
            ("disabled", "Disabled"),
            ("deleted", "Deleted"),
            ("all", "All, deleted too"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        live = Q(deleted_at=None)
        return queryset.filter(
            {
                "enabled": live & Q(enabled=True),
                "disabled": live & Q(enabled=False),
                "deleted": ~live,
                "all": Q(),
            }.get(self.value(), live)
        )


@admin.register(AiProvider)
class ProviderAdmin(AuditedAdmin, ModelAdmin):
    """List, form, keys and switches of providers."""

    form = ProviderForm
    list_display = ("title", "kind", "where", "status", "keys", "changed")
    list_display_links = ("title",)
    list_filter = (StatusFilter, "kind")
    list_filter_sheet = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("name", "display_name", "base_url")
    search_help_text = "Name or base URL"
    ordering = ("name",)
    actions = ("enable", "disable", "soft_delete", "restore")
    change_form_template = "aibridge/provider_form.html"
    empty_hint = (
        "A provider is an upstream API and the keys to it. Choose its kind, paste one "
        "or more keys, and clients can connect."
    )
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": ("kind", "name", "display_name", "base_url", "enabled")}),
        ("Keys", {"fields": ("keys",), "classes": ("ab-keys-field",)}),
        (
            "Amazon Bedrock",
            {"fields": OPTIONS + SECRET_OPTIONS, "classes": ("ab-bedrock",)},
        ),
        (
            "When a key fails",
            {"fields": ("auth_failure_policy", "max_cooldown", "probe_interval")},
        ),
        ("Callers", {"fields": ("allow_byok", "send_actor_headers")}),
        (
            "Time limits",
            {
                "fields": (
                    ("connect_timeout", "tls_timeout"),
                    ("total_timeout", "idle_timeout"),
                ),
                "classes": ("collapse",),
            },
        ),
        (
            "Circuit breaker",
            {
                "fields": (
                    "breaker_enabled",
                    ("breaker_threshold", "breaker_interval"),
                    ("breaker_timeout", "breaker_max_requests"),
                ),
                "classes": ("collapse",),
            },
        ),
        ("Debugging", {"fields": ("api_dump",), "classes": ("collapse",)}),
    )

    # What is shown
    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = AiProvider.all_objects.defer("secret_options").order_by("name")
        return with_key_counts(rows, timezone.now())

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None:
            return fieldsets
        spec = KINDS.get(obj.kind)
        hidden = (
            {"Keys"} if spec is None or spec.options else {"Keys", "Amazon Bedrock"}
        )
        return [entry for entry in fieldsets if entry[0] not in hidden]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return _FIXED if obj is not None else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is not None and obj.deleted_at is not None:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no: deleting is the soft kind, which keeps history (see actions)."""
        return False

    @admin.display(description="Provider", ordering="name")
    def title(self, provider: AiProvider) -> str:
        if not provider.display_name or provider.display_name == provider.name:
            return provider.name
        return format_html(
            '{} <span class="ab-soft">{}</span>', provider.display_name, provider.name
        )

    @admin.display(description="Base URL")
    def where(self, provider: AiProvider) -> str:
        spec = KINDS.get(provider.kind)
        return provider.base_url or (spec.default_base_url if spec else "")

    @admin.display(description="Status", ordering="enabled")
    def status(self, provider: AiProvider) -> str:
        return render_to_string(
            "aibridge/parts/provider_status.html",
            {"provider": provider, "error": load_error(provider)},
        )

    @admin.display(description="Keys healthy")
    def keys(self, provider: AiProvider) -> str:
        spec = KINDS.get(provider.kind)
        if spec is not None and not spec.has_pool:
            return "callers' own" if not spec.options else "AWS"
        return format_html(
            '<a class="ab-link" href="{}?provider={}">{}/{}</a>',
            reverse("admin:providers_apikey_changelist"),
            provider.name,
            provider.keys_healthy,
            provider.keys_total,
        )

    @admin.display(description="Changed", ordering="updated_at")
    def changed(self, provider: AiProvider) -> str:
        return render_to_string(
            "aibridge/parts/when.html", {"moment": provider.updated_at}
        )

    # What is done
    def save_model(
        self, request: HttpRequest, obj: Model, form: Any, change: bool
    ) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if keys := form.cleaned_data.get("keys"):
                upkeep.add_keys(obj, keys, actor=request.user)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet) -> None:
        self._switch(request, queryset, enabled=False)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet, *, enabled: bool
    ) -> None:
        live = queryset.filter(deleted_at=None)
        count = sum(
            upkeep.set_enabled(row, enabled, actor=request.user) for row in live
        )
        self.message_user(request, f"{count} {'enabled' if enabled else 'disabled'}.")

    @admin.action(description="Delete (history stays)", permissions=["change"])
    def soft_delete(self, request: HttpRequest, queryset: QuerySet) -> None:
        count = sum(upkeep.soft_delete(row, actor=request.user) for row in queryset)
        self.message_user(request, f"{count} deleted. They can be restored.")

    @admin.action(description="Restore", permissions=["change"])
    def restore(self, request: HttpRequest, queryset: QuerySet) -> None:
        for row in queryset:
            self._restore(request, row)

    def _restore(self, request: HttpRequest, provider: AiProvider) -> None:
        try:
            if upkeep.restore(provider, actor=request.user):
                self.message_user(request, f"{provider} is back, still switched off.")
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)

    # The form's page
    def get_urls(self) -> list[URLPattern]:
        site = self.admin_site
        return [
            path(
                "<uuid:pk>/do/<slug:what>/",
                site.admin_view(self.do_view),
                name="providers_aiprovider_do",
            ),
            *super().get_urls(),
        ]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        context = {"kinds": _presets(), **(extra_context or {})}
        provider = self.get_object(request, object_id) if object_id else None
        if provider is not None:
            context |= self._panel(request, provider)
        return super().changeform_view(request, object_id, form_url, context)

    def _panel(self, request: HttpRequest, provider: AiProvider) -> dict[str, Any]:
        now = timezone.now()
        keys = [key_health(key, now) for key in provider.keys.defer("secret")]
        return {
            "health": ProviderHealth(provider, keys, load_error(provider)),
            "add_keys_form": AddKeysForm(),
            "may_change": self.has_change_permission(request, provider),
            "may_restore": super().has_change_permission(request),
        }

    def do_view(self, request: HttpRequest, pk: Any, what: str) -> HttpResponse:
        """Do one thing to a provider and go back to its page (POST only)."""
        provider = self.get_object(request, str(pk))
        if request.method != "POST" or provider is None:
            raise Http404
        if not super().has_change_permission(request):
            raise PermissionDenied
        deeds = {
            "enable": lambda: upkeep.set_enabled(provider, True, actor=request.user),
            "disable": lambda: upkeep.set_enabled(provider, False, actor=request.user),
            "delete": lambda: self._delete(request, provider),
            "restore": lambda: self._restore(request, provider),
            "test": lambda: keyadmin.test_connection(request, provider),
            "add-keys": lambda: keyadmin.add_keys(request, provider),
            "order": lambda: keyadmin.set_order(request, provider),
        }
        if what not in deeds:
            raise Http404
        deeds[what]()
        url = reverse("admin:providers_aiprovider_change", args=[provider.pk])
        return redirect(f"{url}#keys" if what in {"add-keys", "order", "test"} else url)

    def _delete(self, request: HttpRequest, provider: AiProvider) -> None:
        if request.POST.get("name", "").strip() != provider.name:
            text = f'Not deleted: type "{provider.name}" to confirm.'
            self.message_user(request, text, messages.ERROR)
        elif upkeep.soft_delete(provider, actor=request.user):
            self.message_user(request, f"{provider} is deleted. It can be restored.")

    def history_targets(self, obj: Model) -> Q:
        return targeting(obj, *obj.keys.defer("secret"))


def _presets() -> dict[str, dict[str, Any]]:
    """Return what the form's script fills in for each kind."""
    return {
        str(kind): {
            "base_url": spec.default_base_url,
            "help": spec.base_url_help,
            "has_pool": spec.has_pool,
            "has_options": bool(spec.options),
        }
        for kind, spec in KINDS.items()
    }


@admin.register(AuditEvent)
class AuditEventAdmin(LinklessList, ModelAdmin):
    """The audit trail; nobody can change it."""

    list_display = ("moment", "actor_name", "action", "target_type", "what", "told")
    list_filter = ("action", "target_type")
    search_fields = ("actor_name", "target_name", "target_id")
    search_help_text = "Who, or what was changed"
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    list_before_template = "aibridge/parts/audit_hint.html"
    empty_hint = "Changes of providers, keys, tokens and users show up here."

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_delete_permission = has_change_permission

    @admin.display(description="When", ordering="id")
    def moment(self, event: AuditEvent) -> str:
        return render_to_string("aibridge/parts/when.html", {"moment": event.at})

    @admin.display(description="Target", ordering="target_name")
    def what(self, event: AuditEvent) -> str:
        return event.target_name

    @admin.display(description="Changes")
    def told(self, event: AuditEvent) -> str:
        return render_to_string(
            "aibridge/parts/changes.html", {"changes": event.changes}
        )

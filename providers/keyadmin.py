"""The pages of keys, and what their buttons do. No page ever shows a secret."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.admin import ModelAdmin

from providers import upkeep
from providers.auditing import AuditedAdmin
from providers.forms import AddKeysForm, RotateKeyForm
from providers.health import STATE_LABELS, in_state, key_health
from providers.kinds import spec_of
from providers.models import AiProvider, ApiKey
from providers.trial import KeyTest

_RECENT = 25


def add_keys(request: HttpRequest, provider: AiProvider) -> None:
    """Add the pasted keys, all or none, and say what came of it."""
    form = AddKeysForm(request.POST)
    if not form.is_valid():
        messages.error(
            request, " ".join(form.errors.get("keys", ["No key was given."]))
        )
        return
    try:
        rows = upkeep.add_keys(provider, form.cleaned_data["keys"], actor=request.user)
    except ValidationError as error:
        messages.error(request, "No key was added. " + " ".join(error.messages))
        return
    hints = ", ".join(row.hint for row in rows)
    messages.success(request, f"Added {hints}.")


def set_order(request: HttpRequest, provider: AiProvider) -> None:
    """Put the keys into the order of the posted ids."""
    try:
        order = [
            UUID(text) for text in request.POST.get("order", "").split(",") if text
        ]
    except ValueError:
        raise Http404 from None
    upkeep.set_order(provider, order, actor=request.user)


def test_connection(request: HttpRequest, provider: AiProvider) -> None:
    """Ask upstream with the first key that is switched on, and say what it said."""
    if not spec_of(provider.kind).has_pool:
        text = "This kind holds no keys here; its connection shows with a request."
        messages.info(request, text)
        return
    key = provider.keys.select_related("provider").filter(enabled=True).first()
    if key is None:
        messages.warning(request, "Add a key first: the test asks with the first one.")
        return
    _tell_test(request, key, upkeep.test_key(key, actor=request.user))


test_connection.__test__ = False  # type: ignore[attr-defined]


def _tell_test(request: HttpRequest, key: ApiKey, test: KeyTest) -> None:
    level = messages.SUCCESS if test.ok else messages.ERROR
    status = f" (HTTP {test.status}, {test.ms} ms)" if test.status else ""
    messages.add_message(request, level, f"{key}: {test.message}{status}")


class StateFilter(admin.SimpleListFilter):
    """Keys by what they may be used for now."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(state), label) for state, label in STATE_LABELS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() is None:
            return queryset
        return queryset.filter(in_state(self.value(), timezone.now()))


class ProviderFilter(admin.SimpleListFilter):
    """Keys by their provider's name."""

    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            (row.name, str(row))
            for row in AiProvider.objects.only("name", "display_name")
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        name = self.value()
        return queryset.filter(provider__name=name) if name else queryset


@admin.register(ApiKey)
class KeyAdmin(AuditedAdmin, ModelAdmin):
    """All providers' keys and their health; each key's own page."""

    list_display = ("key", "of", "place", "state", "why", "used")
    list_filter = (StateFilter, ProviderFilter)
    list_filter_sheet = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("label", "hint", "provider__name")
    search_help_text = "Label or hint"
    ordering = ("provider__name", "position")
    actions = ("test", "return_to_service", "enable", "disable")
    list_before_template = "aibridge/parts/keys_hint.html"
    empty_hint = "Open a provider and paste its keys there."

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = super().get_queryset(request).filter(provider__deleted_at=None)
        rows = rows.select_related("provider")
        return rows.defer("secret", "provider__secret_options")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no: keys are added on their provider's page."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no: a key is deleted by the button of its own page."""
        return False

    @admin.display(description="Key", ordering="label")
    def key(self, key: ApiKey) -> str:
        return format_html('{} <code class="ab-nowrap">{}</code>', key.label, key.hint)

    @admin.display(description="Provider", ordering="provider__name")
    def of(self, key: ApiKey) -> str:
        return str(key.provider)

    @admin.display(description="Order", ordering="position")
    def place(self, key: ApiKey) -> int:
        return key.position + 1

    @admin.display(description="State")
    def state(self, key: ApiKey) -> str:
        return render_to_string(
            "aibridge/parts/key_state.html",
            {"health": key_health(key, timezone.now())},
        )

    @admin.display(description="Last error")
    def why(self, key: ApiKey) -> str:
        return render_to_string("aibridge/parts/key_error.html", {"key": key})

    @admin.display(description="Last used", ordering="last_used_at")
    def used(self, key: ApiKey) -> str:
        return render_to_string(
            "aibridge/parts/when.html", {"moment": key.last_used_at}
        )

    # What is done to several keys
    @admin.action(description="Test", permissions=["change"])
    def test(self, request: HttpRequest, queryset: QuerySet) -> None:
        for key in queryset[:20]:
            _tell_test(request, key, upkeep.test_key(key, actor=request.user))

    @admin.action(description="Return to service", permissions=["change"])
    def return_to_service(self, request: HttpRequest, queryset: QuerySet) -> None:
        count = sum(
            upkeep.return_to_service(key, actor=request.user) for key in queryset
        )
        self.message_user(request, f"{count} returned to service.")

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet) -> None:
        count = sum(
            upkeep.set_enabled(key, True, actor=request.user) for key in queryset
        )
        self.message_user(request, f"{count} enabled.")

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet) -> None:
        count = sum(
            upkeep.set_enabled(key, False, actor=request.user) for key in queryset
        )
        self.message_user(request, f"{count} disabled.")

    # One key's page and buttons
    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<uuid:pk>/do/<slug:what>/",
                self.admin_site.admin_view(self.do_view),
                name="providers_apikey_do",
            ),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """Show a key: its health, what happened to it, what can be done."""
        key = self.get_object(request, object_id)
        if key is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_permission(request, key):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": str(key),
            "opts": self.opts,
            "object": key,
            "original": key,
            "change": True,
            "health": key_health(key, timezone.now()),
            "events": key.events.all()[:_RECENT],
            "attempts": key.attempts.order_by("-started_at")[:_RECENT],
            "rotate_form": RotateKeyForm(),
            "may_change": self.has_change_permission(request, key),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "aibridge/key.html", context)

    def do_view(self, request: HttpRequest, pk: UUID, what: str) -> HttpResponse:
        """Do one thing to a key and go back to where the button was (POST only)."""
        key = self.get_object(request, str(pk))
        if request.method != "POST" or key is None:
            raise Http404
        if not self.has_change_permission(request, key):
            raise PermissionDenied
        deed = getattr(self, f"_do_{what.replace('-', '_')}", None)
        if deed is None:
            raise Http404
        deed(request, key)
        return redirect(_back(request, key, gone=what == "delete"))

    def _do_test(self, request: HttpRequest, key: ApiKey) -> None:
        _tell_test(request, key, upkeep.test_key(key, actor=request.user))

    def _do_return(self, request: HttpRequest, key: ApiKey) -> None:
        if upkeep.return_to_service(key, actor=request.user):
            self.message_user(request, f"{key} is back in service.", messages.SUCCESS)

    def _do_enable(self, request: HttpRequest, key: ApiKey) -> None:
        upkeep.set_enabled(key, True, actor=request.user)

    def _do_disable(self, request: HttpRequest, key: ApiKey) -> None:
        upkeep.set_enabled(key, False, actor=request.user)

    def _do_up(self, request: HttpRequest, key: ApiKey) -> None:
        upkeep.move_key(key, -1, actor=request.user)

    def _do_down(self, request: HttpRequest, key: ApiKey) -> None:
        upkeep.move_key(key, 1, actor=request.user)

    def _do_label(self, request: HttpRequest, key: ApiKey) -> None:
        upkeep.relabel(key, request.POST.get("label", ""), actor=request.user)

    def _do_rotate(self, request: HttpRequest, key: ApiKey) -> None:
        form = RotateKeyForm(request.POST)
        try:
            secret = form.data.get("secret", "")
            changed = upkeep.rotate(key, secret, actor=request.user)
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
            return
        text = f"The key is now {key.hint}." if changed else "That is the same secret."
        self.message_user(request, text, messages.SUCCESS if changed else messages.INFO)

    def _do_delete(self, request: HttpRequest, key: ApiKey) -> None:
        upkeep.delete_key(key, actor=request.user)
        self.message_user(request, f"{key} is deleted.", messages.SUCCESS)


def _back(request: HttpRequest, key: ApiKey, *, gone: bool) -> str:
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}):
        return wanted
    if gone:
        url = reverse("admin:providers_aiprovider_change", args=[key.provider_id])
        return f"{url}#keys"
    return reverse("admin:providers_apikey_change", args=[key.pk])

"""The pages of interceptions, sessions and workers. Records are read, never written."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.db.models.functions import Left
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.admin import ModelAdmin

from interceptions import detail, listing, sessionpages
from interceptions.choices import CredentialKind, ErrorType, Outcome
from interceptions.filters import InterceptionFilter, SessionFilter
from interceptions.models import Facet, Interception, Session, UserPrompt, Worker
from interceptions.moments import parse_moment
from interceptions.permissions import may_read_all, may_read_own
from providers.linkless import LinklessList
from providers.models import AiProvider

_OPTIONS = 200
_SUGGESTED = 20


class ReadOnlyAdmin(ModelAdmin):
    """Base: rows are shown to those who may read them, and changed by nobody."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_read_own(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_delete_permission = has_change_permission

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Records do not change, so they have no history."""
        raise Http404

    def visible(self, request: HttpRequest) -> Any:
        """Return the rows this user may see."""
        return self.model.objects.visible_to(request.user)

    def find(self, request: HttpRequest, object_id: Any) -> Any:
        """Return a row; 404 when there is none or one may not see it."""
        try:
            return get_object_or_404(self.visible(request), pk=UUID(str(object_id)))
        except ValueError:
            raise Http404 from None

    def page(self, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        """Render a page of this admin."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        base = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, template, base | context)


@admin.register(Interception)
class InterceptionAdmin(ReadOnlyAdmin):
    """List and page of interceptions."""

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return self.visible(request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path(
                "options/<slug:name>/",
                view(self.options_view),
                name="interceptions_interception_options",
            ),
            path(
                "<uuid:pk>/text/<slug:kind>/<uuid:text>/",
                view(self.text_view),
                name="interceptions_interception_text",
            ),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponse:
        """Show a page of the filtered list."""
        found = listing.build(
            request,
            self.visible(request).select_related("initiator"),
            InterceptionFilter,
            listing.Order(("id",), lambda row: str(row.pk), lambda text: (UUID(text),)),
            start_field="started_after",
            needs_no_since=("session_id", "thread_id"),
        )
        _add_prompts(found.rows)
        return self.page(
            request,
            "aibridge/interceptions.html",
            title="Interceptions",
            list=found,
            export_url="/api/aigateway/exports/interceptions",
            **filter_options(request),
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """Show one interception."""
        row = self.find(request, object_id)
        return self.page(
            request,
            "aibridge/interception.html",
            title=row.model or "Interception",
            **detail.describe(row, request.user),
        )

    def options_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Suggest values of a filter that begin with ``q``."""
        if not may_read_all(request.user):
            raise Http404
        typed = request.GET.get("q", "")[:100]
        return JsonResponse({"results": suggestions(name, typed)})

    def text_view(
        self, request: HttpRequest, pk: UUID, kind: str, text: UUID
    ) -> HttpResponse:
        """Return the whole of a recorded text, as plain text."""
        whole = detail.whole_text(self.find(request, pk), kind, text)
        if whole is None:
            raise Http404
        answer = HttpResponse(whole, content_type="text/plain; charset=utf-8")
        answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
        return answer


def _add_prompts(rows: list[Interception]) -> None:
    """Give each row the beginning of its prompt; one query."""
    prompts = UserPrompt.objects.filter(interception__in=[row.pk for row in rows])
    heads = dict(
        prompts.order_by("-id").values_list("interception_id", Left("prompt", 200))
    )
    for row in rows:
        row.prompt_head = heads.get(row.pk, "")


def filter_options(request: HttpRequest) -> dict[str, Any]:
    """Return what the filter fields offer; none of it scans the big table."""
    options: dict[str, Any] = {
        "outcomes": Outcome.choices,
        "error_types": ErrorType.choices,
        "credential_kinds": CredentialKind.choices,
        "sinces": [(key, label) for key, (label, _) in listing.SINCE.items()],
        "reads_all": may_read_all(request.user),
    }
    if options["reads_all"]:
        options["providers"] = _providers()
        options["models"] = suggestions("model", "", most=_OPTIONS)
        options["clients"] = suggestions("client", "", most=_OPTIONS)
    return options


def _providers() -> list[tuple[str, str]]:
    """Return (id, label) of all providers, deleted ones last."""
    rows = AiProvider.all_objects.order_by("name", "-created_at").only(
        "name", "display_name", "deleted_at"
    )
    live = [(str(row.pk), str(row)) for row in rows if row.deleted_at is None]
    gone = [(str(row.pk), f"{row} (deleted)") for row in rows if row.deleted_at]
    return live + gone


def suggestions(name: str, typed: str, *, most: int = _SUGGESTED) -> list[str]:
    """Return values of a filter that begin with what was typed, sorted."""
    if name == "initiator":
        users = get_user_model().objects.filter(username__istartswith=typed)
        return list(
            users.order_by("username").values_list("username", flat=True)[:most]
        )
    found = Facet.objects.filter(kind=name, value__istartswith=typed)
    return list(found.order_by("value").values_list("value", flat=True)[:most])


def _session_place(row: Session) -> str:
    return f"{row.last_active_at.isoformat()}_{row.pk}"


def _read_session_place(text: str) -> tuple[Any, ...]:
    moment, _, pk = text.partition("_")
    if (read := parse_moment(moment)) is None:
        raise ValueError(text)
    return read, UUID(pk)


@admin.register(Session)
class SessionAdmin(sessionpages.SessionPages, ReadOnlyAdmin):
    """List and timeline of sessions."""

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return self.visible(request)

    def changelist_view(
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponse:
        """Show a page of the filtered list."""
        found = listing.build(
            request,
            self.visible(request).select_related("initiator"),
            SessionFilter,
            listing.Order(
                ("last_active_at", "id"), _session_place, _read_session_place
            ),
            start_field="active_after",
            needs_no_since=("session_id",),
        )
        return self.page(
            request,
            "aibridge/sessions.html",
            title="Sessions",
            list=found,
            export_url="/api/aigateway/exports/sessions",
            now=timezone.now(),
            **filter_options(request),
        )


@admin.register(Worker)
class WorkerAdmin(LinklessList, ReadOnlyAdmin):
    """Processes that record, and what waits in their journals."""

    list_display = ("node", "pid", "started_at", "beat_at", "journal_records")
    ordering = ("-beat_at",)
    list_before_template = "aibridge/parts/workers_hint.html"
    empty_hint = "Processes that serve requests report here while they run."

    def has_view_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return request.user.has_perm("interceptions.view_worker")

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """A worker has no page of its own."""
        raise Http404

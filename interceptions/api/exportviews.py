"""Exports over REST: the same filters as the lists, without pages."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.request import Request

from interceptions.api import exports
from interceptions.api.queries import filter_names, filter_parameters, read_filters
from interceptions.filters import InterceptionFilter, SearchFilterSet, SessionFilter
from interceptions.models import Interception, Session
from interceptions.permissions import ReadsInterceptions, readable
from providers.api.base import StrictView


class _ExportView(StrictView):
    permission_classes = [ReadsInterceptions]
    filterset_class: type[SearchFilterSet]
    source: type[Interception | Session]
    write: Callable[[QuerySet], StreamingHttpResponse]

    def query_names(self) -> frozenset[str]:
        return filter_names(self.filterset_class)

    def get(self, request: Request) -> StreamingHttpResponse:
        """Return every row that matches all filters, as a stream."""
        rows = readable(request.user, self.source.objects.all())
        return type(self).write(read_filters(self.filterset_class, request, rows).qs)


def _described(
    what: str, media_type: str, filterset_class: type[SearchFilterSet]
) -> Callable[[type], type]:
    """Describe an export in the schema."""
    suffix = "csv" if media_type == "text/csv" else "jsonl"
    answer = OpenApiResponse(OpenApiTypes.STR, description=f"All {what}, one a line.")
    return extend_schema_view(
        get=extend_schema(
            operation_id=f"exports_{what}_{suffix}",
            summary=f"Export {what} as {'CSV' if suffix == 'csv' else 'JSON lines'}",
            tags=["exports"],
            parameters=filter_parameters(filterset_class),
            responses={(200, media_type): answer},
        )
    )


@_described("interceptions", "text/csv", InterceptionFilter)
class InterceptionsCsv(_ExportView):
    """Interceptions for spreadsheets."""

    filterset_class = InterceptionFilter
    source = Interception
    write = staticmethod(exports.interceptions_csv)


@_described("interceptions", "application/x-ndjson", InterceptionFilter)
class InterceptionsJsonl(_ExportView):
    """Interceptions for programs; each line is what the list gives for one."""

    filterset_class = InterceptionFilter
    source = Interception
    write = staticmethod(exports.interceptions_jsonl)


@_described("sessions", "text/csv", SessionFilter)
class SessionsCsv(_ExportView):
    """Sessions for spreadsheets."""

    filterset_class = SessionFilter
    source = Session
    write = staticmethod(exports.sessions_csv)


@_described("sessions", "application/x-ndjson", SessionFilter)
class SessionsJsonl(_ExportView):
    """Sessions for programs; each line is what the list gives for one."""

    filterset_class = SessionFilter
    source = Session
    write = staticmethod(exports.sessions_jsonl)

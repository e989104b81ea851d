"""Reading interceptions and sessions over REST; what they are is told elsewhere."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from interceptions.api.payloads import (
    page_payload,
    rows_of,
    session_payload,
    session_rows,
)
from interceptions.api.queries import filter_names, filter_parameters, read_filters
from interceptions.api.serializers import (
    InterceptionSerializer,
    SessionDetailSerializer,
    SessionSerializer,
)
from interceptions.api.threadpayloads import thread_page_payload
from interceptions.filters import InterceptionFilter, SessionFilter
from interceptions.models import Interception, Session
from interceptions.permissions import ReadsInterceptions, readable
from interceptions.threads import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    ThreadPage,
    UnknownThread,
    load_page,
)
from providers.api.base import StrictView
from providers.api.errors import InvalidQuery
from providers.api.paging import (
    UUID_TEXT,
    IdPages,
    MomentPages,
    Page,
    capped_count,
    links,
    read_id,
    read_limit,
    read_text,
)
from providers.api.schema import (
    cursor_parameters,
    id_page_parameters,
    id_parameter,
    limit_parameter,
    page_schema,
    text_parameter,
)


class InterceptionList(StrictView):
    """Interceptions, the newest first."""

    permission_classes = [ReadsInterceptions]
    pages = IdPages()

    def query_names(self) -> frozenset[str]:
        return self.pages.names | filter_names(InterceptionFilter)

    @extend_schema(
        operation_id="interceptions_list",
        summary="List interceptions",
        tags=["interceptions"],
        parameters=[*id_page_parameters(), *filter_parameters(InterceptionFilter)],
        responses=page_schema("results", InterceptionSerializer),
    )
    def get(self, request: Request) -> Response:
        """Return the interceptions that match all filters, the newest first."""
        found = read_filters(
            InterceptionFilter, request, readable(request.user, _all())
        )
        page = self.pages.page(found.between, request, rows_of)
        return Response(
            capped_count(found.qs, page, least=found.least)
            | links(request, page, self.pages.names)
            | {"results": page_payload(page.rows)}
        )


class InterceptionDetail(StrictView):
    """One interception."""

    permission_classes = [ReadsInterceptions]

    @extend_schema(
        operation_id="interceptions_retrieve",
        summary="Get an interception",
        tags=["interceptions"],
        responses=InterceptionSerializer,
    )
    def get(self, request: Request, pk: UUID) -> Response:
        """Return an interception with prompt, tokens, tools, thoughts and attempts."""
        rows = readable(request.user, _all()).filter(pk=pk)
        for payload in page_payload(rows_of(rows)):
            return Response(payload)
        raise Http404


class SessionList(StrictView):
    """Sessions, the last active first."""

    permission_classes = [ReadsInterceptions]
    pages = MomentPages("last_active_at")

    def query_names(self) -> frozenset[str]:
        return self.pages.names | filter_names(SessionFilter)

    @extend_schema(
        operation_id="sessions_list",
        summary="List sessions",
        tags=["sessions"],
        parameters=[*cursor_parameters(), *filter_parameters(SessionFilter)],
        responses=page_schema("sessions", SessionSerializer),
    )
    def get(self, request: Request) -> Response:
        """Return the sessions that match all filters, the last active first."""
        found = read_filters(
            SessionFilter, request, readable(request.user, _sessions())
        )
        page = self.pages.page(found.qs, request, session_rows)
        return Response(
            capped_count(found.qs, page, least=found.least)
            | links(request, page, self.pages.names)
            | {"sessions": [session_payload(row) for row in page.rows]}
        )


class SessionDetail(StrictView):
    """One session and its threads."""

    permission_classes = [ReadsInterceptions]

    def query_names(self) -> frozenset[str]:
        return frozenset({"limit", "after_id", "before_id", "initiator"})

    @extend_schema(
        operation_id="sessions_retrieve",
        summary="Get a session with its threads",
        tags=["sessions"],
        parameters=[
            limit_parameter(default=DEFAULT_LIMIT, most=MAX_LIMIT),
            id_parameter("after_id", "Threads that follow this one (later ones)."),
            id_parameter("before_id", "Threads right ahead of this one (earlier)."),
            text_parameter(
                "initiator",
                "Username, when several users have a session with this session id; "
                "without it the last active of them is meant.",
                max_length=150,
            ),
        ],
        responses=SessionDetailSerializer,
    )
    def get(self, request: Request, pk: str) -> Response:
        """Return a session, found by its id or the client's session id.

        Threads are in order of time; give `after_id` or `before_id`, not both.
        """
        initiator = read_text(request, "initiator", max_length=150)
        session = _find_session(readable(request.user, _sessions()), pk, initiator)
        page = self._page(request, session)
        payload = thread_page_payload(page)
        return Response(payload | links(request, _thread_links(page), _THREAD_CURSORS))

    def _page(self, request: Request, session: Session) -> ThreadPage:
        after, before = read_id(request, "after_id"), read_id(request, "before_id")
        limit = read_limit(request, default=DEFAULT_LIMIT, most=MAX_LIMIT)
        if after is not None and before is not None:
            raise _invalid("before_id", "cannot be combined with after_id")
        try:
            return load_page(session, after=after, before=before, limit=limit)
        except UnknownThread as error:
            field = "after_id" if before is None else "before_id"
            raise _invalid(field, str(error)) from error


_THREAD_CURSORS = frozenset({"after_id", "before_id"})


def _thread_links(page: ThreadPage) -> Page:
    threads = page.threads
    after = {"after_id": str(threads[-1].id)} if threads and page.has_next else None
    before = (
        {"before_id": str(threads[0].id)} if threads and page.has_previous else None
    )
    return Page(threads, next=after, previous=before)


def _find_session(rows: QuerySet, text: str, initiator: str | None) -> Session:
    """Return the session of that id, else the last active of that session id."""
    if "\0" in text:
        raise Http404
    if initiator is not None:
        rows = rows.filter(initiator__username=initiator)
    rows = rows.select_related("initiator")
    if UUID_TEXT.fullmatch(text) and (found := rows.filter(pk=text).first()):
        return found
    named = rows.filter(session_id=text).order_by("-last_active_at", "-id")
    if (found := named.first()) is None:
        raise Http404
    return found


def _all() -> QuerySet:
    return Interception.objects.all()


def _sessions() -> QuerySet:
    return Session.objects.all()


def _invalid(field: str, detail: str) -> InvalidQuery:
    return InvalidQuery([{"field": field, "detail": detail}])

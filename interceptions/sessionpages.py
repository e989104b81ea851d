"""The timeline page of a session, and what it loads on demand."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_safe

from interceptions import timeline
from interceptions.feed import feed
from interceptions.models import Interception, Session
from interceptions.moments import parse_moment
from interceptions.threads import of_session


class SessionPages:
    """Mixin: the views of one session; needs a ReadOnlyAdmin beside it."""

    def get_urls(self) -> list[URLPattern]:
        admin: Any = self
        parts = {
            "threads": self.threads_view,
            "steps": self.steps_view,
            "updates": self.updates_view,
            "find": self.find_view,
            "live": self.live_view,
        }
        return [
            path(
                f"<uuid:pk>/{name}/",
                admin.admin_site.admin_view(require_safe(view)),
                name=f"interceptions_session_{name}",
            )
            for name, view in parts.items()
        ] + super().get_urls()  # type: ignore[misc]

    def _session(self, request: HttpRequest, pk: Any) -> Session:
        admin: Any = self
        return admin.find(request, pk)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """Show the session's first screen, or the one of the step ``at``."""
        admin: Any = self
        session = self._session(request, object_id)
        at = _step(session, request.GET.get("at", ""))
        after = _uuid(request.GET.get("after", ""))
        return admin.page(
            request,
            "aibridge/session.html",
            title="Session",
            session=session,
            screen=timeline.load_screen(session, after=after, at=at),
            at=at,
            starts_late=bool(at or after),
            is_live=timeline.is_live(session),
            loaded_at=timezone.now(),
            duration_ms=_duration(session),
            neighbours=_neighbours(admin.visible(request), session),
        )

    def threads_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Return the threads that follow one."""
        session = self._session(request, pk)
        after = _required(_uuid(request.GET.get("after", "")))
        screen = timeline.load_screen(session, after=after)
        context = {"session": session, "screen": screen, "further": True}
        return render(request, "aibridge/parts/threads.html", context)

    def steps_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Return the steps of a thread that follow one."""
        session = self._session(request, pk)
        thread = _required(_uuid(request.GET.get("thread", "")))
        after = _required(_uuid(request.GET.get("after", "")))
        part = _required(timeline.load_steps(session, thread, after))
        context = {"session": session, "thread": part}
        return render(request, "aibridge/parts/steps.html", context)

    def updates_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Return the summary, and the steps that changed since a moment."""
        session = self._session(request, pk)
        since: datetime = _required(parse_moment(request.GET.get("since", "")))
        context = {
            "session": session,
            "loaded_at": timezone.now(),
            "steps": timeline.load_changed(session, since),
            "is_live": timeline.is_live(session),
            "duration_ms": _duration(session),
        }
        return render(request, "aibridge/parts/updates.html", context)

    def find_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Return where a text occurs in the session."""
        session = self._session(request, pk)
        text = request.GET.get("text", "").strip()[:200]
        matches = timeline.find(session, text) if text else []
        context = {"session": session, "matches": matches, "text": text}
        return render(request, "aibridge/parts/matches.html", context)

    def live_view(self, request: HttpRequest, pk: UUID) -> StreamingHttpResponse:
        """Tell by server-sent events whenever something happened in the session."""
        session = self._session(request, pk)
        answer = StreamingHttpResponse(feed(session), content_type="text/event-stream")
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["X-Accel-Buffering"] = "no"
        return answer


def _duration(session: Session) -> float | None:
    end = session.ended_at or session.last_active_at
    return (end - session.started_at).total_seconds() * 1000


def _neighbours(sessions: Any, session: Session) -> dict[str, Session | None]:
    """Return the same user's sessions before and after this one."""
    theirs = sessions.filter(initiator=session.initiator_id).exclude(pk=session.pk)
    by_time = theirs.order_by("last_active_at", "id")
    newer = by_time.filter(last_active_at__gte=session.last_active_at).first()
    older = by_time.filter(last_active_at__lte=session.last_active_at).last()
    return {"newer": newer, "older": older}


def _step(session: Session, text: str) -> Interception | None:
    pk = _uuid(text)
    return of_session(session).filter(pk=pk).first() if pk else None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise Http404 from None


def _required(value: Any) -> Any:
    if value is None:
        raise Http404
    return value

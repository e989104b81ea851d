"""Every door of the project: its path, its methods, and a row of each kind behind it.

Rows belong to somebody else than those who knock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from interceptions.models import Session, Worker
from providers.keystate import add_key
from providers.models import AiProvider, AuditEvent
from proxy.actors import issue_token
from proxy.models import McpServer
from tests.interceptions.happenings import happen, turn_of

API = "/api/aigateway/"
# What pages that are parts of others are asked with.
_QUERIES = {
    "/threads/": "?after={thread}",
    "/steps/": "?after={thread}&thread={thread}",
    "/updates/": "?since=2026-01-01T00:00:00Z",
}
_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Door:
    """A path as it is written in urls, and the methods its view answers."""

    pattern: str
    methods: tuple[str, ...]

    def path(self, rows: dict[str, dict[str, Any]]) -> str:
        """Return the path with the ids of rows in it."""
        known = next(
            (values for part, values in rows.items() if part in self.pattern), {}
        )
        values = rows[""] | known
        path = _ARGUMENT.sub(lambda found: str(values[found[1]]), self.pattern)
        query = next((q for end, q in _QUERIES.items() if path.endswith(end)), "")
        return path + query.format(**values)


def doors() -> Iterator[Door]:
    """Return all doors, as often as a path can be written differently."""
    for pattern, callback in _walk(get_resolver().url_patterns, "/"):
        if "(?P<url>" in pattern or pattern == API and callback.__name__ == "not_found":
            # What no other path matched.
            continue
        pattern = re.sub(r"\^?\(\?P<app_label>[^)]*\)/?\$?", "interceptions/", pattern)
        yield Door(pattern, _methods(callback))


def _walk(patterns: list[Any], before: str) -> Iterator[tuple[str, Any]]:
    for each in patterns:
        path = before + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _walk(each.url_patterns, path)
        elif isinstance(each, URLPattern):
            yield path, each.callback


def _methods(callback: Any) -> tuple[str, ...]:
    view = getattr(callback, "cls", None)
    if view is None:
        return ("GET", "POST")
    names = ("GET", "POST", "PUT", "PATCH", "DELETE")
    return tuple(name for name in names if hasattr(view, name.lower()))


def make_rows(owner: Any) -> dict[str, dict[str, Any]]:
    """Store a row for each kind of door; return what stands for path arguments."""
    # Nothing listens there: a tested key must not leave this machine.
    provider = AiProvider.objects.create(
        name="main", kind="anthropic", base_url="http://127.0.0.1:9"
    )
    key = add_key(provider, "key-a-000000000000000001", "")
    interception = happen(owner, session="s-1", turns=[turn_of("c", thought="hm")])
    thought = interception.thoughts.get()
    session = Session.objects.get(initiator=owner)
    token, _ = issue_token(owner, "laptop")
    server = McpServer.objects.create(name="tracker", url="https://mcp.example.com/")
    event = AuditEvent.objects.create(
        actor_name="x", action="change", target_type="aiprovider",
        target_id=provider.pk, target_name="main",
    )  # fmt: skip
    now = timezone.now()
    worker = Worker.objects.create(node="n", pid=1, started_at=now, beat_at=now)
    common = {
        "provider": "main",
        "provider_name": "nothing",
        "route": "v1/messages",
        "what": "enable",
        "name": "model",
        "kind": "thought",
        "thread": interception.pk,
        "text": thought.pk,
        "content_type_id": ContentType.objects.get_for_model(type(owner)).pk,
        "object_id": owner.pk,
        "id": owner.pk,
        "pk": owner.pk,
    }
    found = {
        "/keys/": key, "apikey": key, "aiprovider": provider, "auditevent": event,
        "api/aigateway/sessions": session, "interceptions/session": session,
        "interceptions/worker": worker, "interception": interception,
        "mcpserver": server, "token": token, "auth/user": owner,
    }  # fmt: skip
    rows = {part: {"pk": row.pk, "object_id": row.pk} for part, row in found.items()}
    rows["auth/user"]["id"] = owner.pk
    return rows | {"": common}

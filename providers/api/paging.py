"""Pages of a list that is walked along a unique key, from any point in both directions.

Rows added or removed elsewhere neither repeat nor hide others. The count is honest but
capped, so that its cost is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Protocol
from uuid import UUID

from django.db.models import Q, QuerySet
from rest_framework.request import Request

from providers.api.errors import InvalidQuery
from providers.querying import as_they_are, count_up_to, first_rows

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
COUNT_CAP = 10_000

UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a list; ``next`` and ``previous`` are query parameters.

    ``is_whole`` says that the list has no other rows.
    """

    rows: list[Any]
    next: dict[str, str] | None
    previous: dict[str, str] | None
    is_whole: bool = False


def read_limit(
    request: Request, *, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT
) -> int:
    """Return how many rows are asked for; raises InvalidQuery."""
    return read_number(request, "limit", default=default, least=1, most=most)


def read_number(
    request: Request, name: str, *, default: int, least: int, most: int
) -> int:
    """Return a whole number from the query; raises InvalidQuery."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise _invalid(name, f"must be a whole number from {least} to {most}")
    return int(text)


def read_id(request: Request, name: str) -> UUID | None:
    """Return an id from the query, None when it is not given; raises InvalidQuery."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not UUID_TEXT.fullmatch(text):
        raise _invalid(name, "must be a UUID")
    return UUID(text)


def read_text(request: Request, name: str, *, max_length: int = 256) -> str | None:
    """Return a text from the query, None when it is not given; raises InvalidQuery."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if "\0" in text:
        raise _invalid(name, "must not contain null characters")
    if len(text) > max_length:
        raise _invalid(name, f"must have {max_length} characters at most")
    return text


def capped_count(
    rows: QuerySet, page: Page, *, least: int | None = None
) -> dict[str, Any]:
    """Return how many rows there are, as far as that is quick to say.

    Up to ``COUNT_CAP`` are counted. Where ``least`` is given, or counting takes too
    long, the count is a number that is known: the greater of ``least`` and of the
    page's rows.
    """
    shown = len(page.rows)
    if page.is_whole:
        return {"count": shown, "count_is_capped": False}
    counted = count_up_to(rows, COUNT_CAP) if least is None else None
    known = max(least or 0, shown) if counted is None else counted
    is_capped = counted is None or counted > COUNT_CAP
    return {"count": min(known, COUNT_CAP), "count_is_capped": is_capped}


def links(
    request: Request, page: Page, cursors: frozenset[str]
) -> dict[str, str | None]:
    """Return the URLs of the pages around one, None where there is none."""
    return {
        "next": _link(request, page.next, cursors),
        "previous": _link(request, page.previous, cursors),
    }


def _link(
    request: Request, there: dict[str, str] | None, cursors: frozenset[str]
) -> str | None:
    if there is None:
        return None
    query = request.query_params.copy()
    for name in cursors - {"limit"}:
        query.pop(name, None)
    query.update(there)
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")


Read = Callable[[QuerySet], QuerySet]


class Between(Protocol):
    """Rows of a list whose ids are below ``after`` and above ``before``."""

    def __call__(self, *, after: UUID | None, before: UUID | None) -> QuerySet: ...


def ids_between(rows: QuerySet) -> Between:
    """Return the rows as ``IdPages`` takes them."""

    def between(*, after: UUID | None, before: UUID | None) -> QuerySet:
        bounds = {"id__lt": after, "id__gt": before}
        return rows.filter(**{name: id for name, id in bounds.items() if id})

    return between


class IdPages:
    """Newest first along ``id``, which is unique and ordered by time.

    ``after_id`` gives the rows that follow an id in the list, ``before_id`` those right
    ahead of it, both together what lies between. The ids need not exist any more.
    """

    names: ClassVar[frozenset[str]] = frozenset({"limit", "after_id", "before_id"})

    def page(
        self, between: Between, request: Request, read: Read = as_they_are
    ) -> Page:
        """Return the page that the query asks for; raises InvalidQuery.

        ``between`` returns the list's rows with ids below ``after``, above ``before``,
        and ``read`` turns them into what the page shall hold.
        """
        limit = read_limit(request)
        after, before = read_id(request, "after_id"), read_id(request, "before_id")
        rows = between(after=after, before=before)
        backwards = before is not None and after is None
        found = first_rows(rows, ["id" if backwards else "-id"], limit + 1, read)
        more, found = len(found) > limit, found[:limit]
        if backwards:
            found.reverse()
        return Page(
            found,
            next=_edge("after_id", found, -1, more or backwards),
            previous=_edge("before_id", found, 0, more if backwards else bool(after)),
            is_whole=not more and after is None and before is None,
        )


def _edge(name: str, rows: list[Any], index: int, more: bool) -> dict[str, str] | None:
    return {name: str(row_value(rows[index], "id"))} if rows and more else None


class MomentPages:
    """Newest first along a moment and an id; ``cursor`` says where, and which way.

    A cursor holds both values, so that it stays where it was when its row moves on.
    """

    names: ClassVar[frozenset[str]] = frozenset({"limit", "cursor"})

    def __init__(self, moment: str) -> None:
        self._moment = moment

    def page(self, rows: QuerySet, request: Request, read: Read = as_they_are) -> Page:
        """Return the page that the query asks for; raises InvalidQuery.

        ``read`` turns rows into what the page shall hold.
        """
        limit = read_limit(request)
        text = request.query_params.get("cursor")
        backwards = text is not None and text.startswith("b")
        if text is not None:
            rows = self._beyond(rows, *read_cursor(text), backwards)
        sign = "" if backwards else "-"
        order = (f"{sign}{self._moment}", f"{sign}id")
        found = first_rows(rows, order, limit + 1, read)
        more, found = len(found) > limit, found[:limit]
        if backwards:
            found.reverse()
        return Page(
            found,
            next=self._edge("a", found, -1, more or backwards),
            previous=self._edge("b", found, 0, more if backwards else text is not None),
            is_whole=not more and text is None,
        )

    def _beyond(
        self, rows: QuerySet, moment: datetime, id: UUID, backwards: bool
    ) -> QuerySet:
        name, side = self._moment, "gt" if backwards else "lt"
        # The first condition is implied; an index can start from it.
        return rows.filter(
            Q(**{f"{name}__{side}": moment}) | Q(**{name: moment, f"id__{side}": id}),
            **{f"{name}__{side}e": moment},
        )

    def _edge(
        self, way: str, rows: list[Any], index: int, more: bool
    ) -> dict[str, str] | None:
        if not rows or not more:
            return None
        row = rows[index]
        moment, id = row_value(row, self._moment), row_value(row, "id")
        return {"cursor": write_cursor(way, moment, id)}


CURSOR_PATTERN = "^[ab][0-9a-f]{13}[0-9a-f]{32}$"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def write_cursor(way: str, moment: datetime, id: UUID) -> str:
    """Return the cursor of a row: after ("a") or before ("b") it in the list."""
    return f"{way}{(moment - _EPOCH) // _MICROSECOND:013x}{id.hex}"


def read_cursor(text: str) -> tuple[datetime, UUID]:
    """Return a cursor's moment and id; raises InvalidQuery."""
    if not re.fullmatch(CURSOR_PATTERN.strip("^$"), text):
        raise _invalid("cursor", "is not a cursor of this list")
    return _EPOCH + _MICROSECOND * int(text[1:14], 16), UUID(text[14:])


def row_value(row: Any, name: str) -> Any:
    """Return a column of a model instance or of a ``values()`` row."""
    return row[name] if isinstance(row, dict) else getattr(row, name)


def _invalid(field: str, detail: str) -> InvalidQuery:
    return InvalidQuery([{"field": field, "detail": detail}])

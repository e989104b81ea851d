"""One page of a filtered list: what the address asks for, and where to go from it.

Pages are found by key, not by number, so that the thousandth costs what the first does;
counts end at a cap, and at a time limit. The same names filter the REST lists, so an
address can be turned into an export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone

from interceptions.filters import SearchFilterSet
from providers.querying import count_up_to, first_rows

PAGE = 50
CAP = 10_000
SINCE = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(days=1)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
    "all": ("All time", None),
}
DEFAULT_SINCE = "24h"
_PAGING = frozenset({"older", "newer", "since"})
_KEPT = frozenset({"q", "provider", "kind", "session_id", "thread_id"})
"""Filters that have no field on the page; an address may hold them all the same."""


@dataclass(frozen=True, slots=True)
class Order:
    """A unique descending order, and how a row's place in it is written in a link."""

    fields: tuple[str, ...]
    write: Callable[[Any], str]
    read: Callable[[str], tuple[Any, ...]]

    def after(self, place: tuple[Any, ...]) -> Q:
        """Return the condition on rows that come later in the list."""
        return _beyond(self.fields, place, "lt")

    def before(self, place: tuple[Any, ...]) -> Q:
        """Return the condition on rows that come earlier in the list."""
        return _beyond(self.fields, place, "gt")


def _beyond(fields: tuple[str, ...], place: tuple[Any, ...], how: str) -> Q:
    first, value = fields[0], place[0]
    if len(fields) == 1:
        return Q(**{f"{first}__{how}": value})
    further = Q(**{first: value}) & _beyond(fields[1:], place[1:], how)
    # The first condition alone says nothing new, but it is one that an index serves.
    return Q(**{f"{first}__{how}e": value}) & (
        Q(**{f"{first}__{how}": value}) | further
    )


@dataclass(slots=True)
class Listing:
    """What a list's template needs."""

    rows: list[Any]
    count: int | None
    older: str = ""
    newer: str = ""
    since: str = DEFAULT_SINCE
    values: dict[str, str] = field(default_factory=dict)
    problems: list[dict[str, str]] = field(default_factory=list)
    chips: list[tuple[str, str, str]] = field(default_factory=list)
    start_field: str = ""
    kept: list[str] = field(default_factory=list)
    all_time: str = ""
    export_query: str = ""

    @property
    def is_filtered(self) -> bool:
        return bool(self.chips)

    @property
    def count_label(self) -> str:
        """How many rows match, as far as that was quick to say."""
        if self.count is None:
            return f"More than {len(self.rows)}" if self.older else str(len(self.rows))
        return f"{CAP:,}+" if self.count > CAP else f"{self.count:,}"

    @property
    def since_label(self) -> str:
        return SINCE[self.since][0] if self.since else ""

    @property
    def end_field(self) -> str:
        return self.start_field.replace("_after", "_before")

    @property
    def start_value(self) -> str:
        return self.values.get(self.start_field, "")

    @property
    def end_value(self) -> str:
        return self.values.get(self.end_field, "")


def build(
    request: HttpRequest,
    rows: QuerySet,
    filterset_class: type[SearchFilterSet],
    order: Order,
    *,
    start_field: str,
    needs_no_since: tuple[str, ...] = (),
) -> Listing:
    """Return the page that the request asks for.

    ``start_field`` is the filter that "since" stands for. With one of the filters
    ``needs_no_since`` given, the default is all time.
    """
    given = {k: v for k, v in request.GET.items() if k not in _PAGING and v.strip()}
    since = _since(request, given, start_field, needs_no_since)
    effective = dict(given)
    if length := SINCE[since][1] if since else None:
        effective[start_field] = _written(timezone.now() - length)
    found = filterset_class(effective, rows, request=request)
    matching = found.qs if found.is_valid() else rows.none()
    page, newer, older = _page(request, matching, order)
    is_whole = not (newer or older or request.GET.keys() & _PAGING - {"since"})
    return Listing(
        rows=page,
        count=len(page) if is_whole else _count(found, matching),
        newer=_link(request, newer=newer),
        older=_link(request, older=older),
        since=since,
        values=given,
        problems=found.problems,
        chips=_chips(request, given, found),
        start_field=start_field,
        kept=[name for name in given if name in _KEPT],
        all_time=_with(request.GET, {"since": "all"}, drop=("older", "newer")),
        export_query=_query(
            {k: v for k, v in effective.items() if k in found.base_filters}
        ),
    )


def _count(found: SearchFilterSet, matching: QuerySet) -> int | None:
    """Return how many rows match, as far as that is quick to say."""
    if found.least is None:
        return count_up_to(matching, CAP)
    return found.least if found.least > CAP else None


def _since(
    request: HttpRequest, given: dict[str, str], start_field: str, free: tuple[str, ...]
) -> str:
    """Return a key of SINCE, "" when the address names moments itself."""
    if start_field in given or start_field.replace("_after", "_before") in given:
        return ""
    wanted = request.GET.get("since", "")
    if wanted in SINCE:
        return wanted
    return "all" if any(name in given for name in free) else DEFAULT_SINCE


def _page(
    request: HttpRequest, rows: QuerySet, order: Order
) -> tuple[list[Any], str, str]:
    """Return the rows, and the places of the first and last where more follows."""
    descending = [f"-{name}" for name in order.fields]
    try:
        if text := request.GET.get("newer"):
            earlier = rows.filter(order.before(order.read(text)))
            found = first_rows(earlier, order.fields, PAGE + 1)
            page = found[:PAGE][::-1]
            return (
                page,
                _place(order, page[:1], len(found) > PAGE),
                text and _place(order, page[-1:], True),
            )
        text = request.GET.get("older", "")
        later = rows.filter(order.after(order.read(text))) if text else rows
    except ValueError:
        text, later = "", rows
    found = first_rows(later, descending, PAGE + 1)
    page = found[:PAGE]
    return (
        page,
        _place(order, page[:1], bool(text)),
        _place(order, page[-1:], len(found) > PAGE),
    )


def _place(order: Order, rows: list[Any], more: bool) -> str:
    return order.write(rows[0]) if rows and more else ""


def _link(request: HttpRequest, **place: str) -> str:
    (name, value), *_ = place.items()
    return _with(request.GET, {name: value}, drop=("older", "newer")) if value else ""


def _with(query: QueryDict, change: Mapping[str, str], *, drop: tuple[str, ...]) -> str:
    changed = query.copy()
    for name in drop:
        changed.pop(name, None)
    for name, value in change.items():
        changed[name] = value
    return "?" + changed.urlencode()


def _query(values: Mapping[str, str]) -> str:
    query = QueryDict(mutable=True)
    query.update(dict(values))
    return query.urlencode()


def _chips(
    request: HttpRequest, given: dict[str, str], found: SearchFilterSet
) -> list[tuple[str, str, str]]:
    """Return (name, value, link without it) of each filter in use."""
    return [
        (
            name.replace("_", " "),
            value,
            _with(request.GET, {}, drop=(name, "older", "newer")),
        )
        for name, value in given.items()
        if name in found.base_filters
    ]


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

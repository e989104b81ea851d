"""What the first page shows: health, traffic, failures, and what needs a hand.

Puts together what the rooms report about themselves. Figures that read traffic are
kept for a few seconds, so that a page left open everywhere costs one query, not many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.cache import cache
from django.db.models import Sum
from django.urls import reverse
from django.utils import timezone

from aibridge_site import charts
from interceptions import traffic
from interceptions.models import Interception, Worker
from providers.health import KeyHealth, ProviderHealth, provider_health
from providers.keypool import KeyState
from proxy.models import GatewayToken

FRESH_SECONDS = 5
_EXPIRING = timedelta(days=7)
_REQUEST_PARTS = {
    "succeeded": "completed",
    "cancelled": "cancelled",
    "failed": "failed",
}
_TOKEN_PARTS = {"input_tokens": "in", "output_tokens": "out", "cached_tokens": "cached"}


def may_see(user: Any) -> bool:
    """Whether the overview has something to show this user."""
    return settings.AIBRIDGE_MEMBERS_READ_OWN or user.has_perm(
        "interceptions.view_interception"
    )


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that needs a hand: how bad, what, and where to act."""

    level: str
    text: str
    url: str
    act: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key's health with what it carried in the last hour."""

    health: KeyHealth
    load: traffic.Load


@dataclass(frozen=True, slots=True)
class ProviderCard:
    """A provider's health with what it carried in the last hour."""

    health: ProviderHealth
    load: traffic.Load
    keys: list[KeyRow]


def overview(user: Any, stretch_name: str) -> dict[str, Any]:
    """Return the page's context: ``stretch_name`` is 1h, 24h or 7d."""
    stretch = traffic.STRETCHES.get(stretch_name) or traffic.STRETCHES["24h"]
    now = timezone.now()
    context = _traffic(user, stretch, now)
    context |= {
        "stretch": stretch,
        "stretches": traffic.STRETCHES.values(),
        "failures": traffic.latest_failures(Interception.objects.visible_to(user), 8),
        "reads_all": user.has_perm("interceptions.view_interception"),
    }
    if user.has_perm("providers.view_aiprovider"):
        health = provider_health(now)
        context |= {
            "cards": _cards(health, now),
            "concerns": concerns(health, now),
            "first_steps": None if health else first_steps(user),
        }
    return context


def _remembered(key: str, compute: Callable[[], Any]) -> Any:
    return cache.get_or_set(f"overview:{key}", compute, FRESH_SECONDS)


def _traffic(user: Any, stretch: traffic.Stretch, now: datetime) -> dict[str, Any]:
    rows = Interception.objects.visible_to(user)
    whose = "all" if user.has_perm("interceptions.view_interception") else user.pk
    buckets = _remembered(
        f"series:{whose}:{stretch.name}",
        lambda: traffic.series(rows, stretch, now, whose=str(whose)),
    )
    errors = _remembered(
        f"errors:{whose}:{stretch.name}",
        lambda: traffic.errors_by_type(rows, buckets[0].start),
    )
    urls = [interceptions_url(b.start, b.end) for b in buckets]
    return {
        "requests_chart": charts.stacked(
            "Requests", buckets, _REQUEST_PARTS, urls, label_format=stretch.label_format
        ),
        "tokens_chart": charts.stacked(
            "Tokens", buckets, _TOKEN_PARTS, urls, label_format=stretch.label_format
        ),
        "requests": sum(b.requests for b in buckets),
        "failed": sum(b.failed for b in buckets),
        "cancelled": sum(b.cancelled for b in buckets),
        "tokens": sum(b.tokens for b in buckets),
        "errors": errors,
        "most_errors": max((error.count for error in errors), default=0),
        "since": buckets[0].start,
    }


def interceptions_url(start: datetime, end: datetime, **filters: str) -> str:
    """Return the list of the interceptions of a stretch of time."""
    query = {
        "started_after": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "started_before": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **filters,
    }
    path = reverse("admin:interceptions_interception_changelist")
    return f"{path}?{urlencode(query)}"


def _cards(health: list[ProviderHealth], now: datetime) -> list[ProviderCard]:
    since = now - timedelta(hours=1)
    by_provider = _remembered("providers", lambda: traffic.load_by_provider(since))
    by_key = _remembered("keys", lambda: traffic.load_by_key(since))
    nothing = traffic.Load()
    return [
        ProviderCard(
            one,
            by_provider.get(one.provider.pk, nothing),
            [KeyRow(key, by_key.get(key.key.pk, nothing)) for key in one.keys],
        )
        for one in health
    ]


def first_steps(user: Any) -> dict[str, bool]:
    """Return what a new installation already has."""
    return {"token": GatewayToken.objects.filter(owner=user, revoked_at=None).exists()}


def concerns(health: list[ProviderHealth], now: datetime) -> list[Concern]:
    """Return what needs a hand, the worst first."""
    found = [concern for one in health for concern in _of_provider(one)]
    found += _of_tokens(now) + _of_workers(now)
    return sorted(found, key=lambda concern: concern.level != "bad")


def _of_provider(one: ProviderHealth) -> list[Concern]:
    name = str(one.provider)
    url = reverse("admin:providers_aiprovider_change", args=[one.provider.pk])
    keys = reverse("admin:providers_apikey_changelist")
    found = []
    if one.state == "down":
        found.append(Concern("bad", f"{name} has no key in service", url, "See keys"))
    if one.state == "empty":
        found.append(Concern("bad", f"{name} has no key to use", url, "Add a key"))
    retired = sum(key.state == KeyState.PERMANENT for key in one.keys)
    if retired:
        query = urlencode({"provider": one.provider.name, "state": "permanent"})
        what = "1 retired key" if retired == 1 else f"{retired} retired keys"
        found.append(Concern("warn", f"{name} has {what}", f"{keys}?{query}", "Review"))
    if one.provider.api_dump and one.provider.enabled:
        text = f"{name} writes request dumps with unredacted bodies"
        found.append(Concern("warn", text, url, "Switch off"))
    return found


def _of_tokens(now: datetime) -> list[Concern]:
    expiring = GatewayToken.objects.filter(
        revoked_at=None, expires_at__gt=now, expires_at__lte=now + _EXPIRING
    ).count()
    if not expiring:
        return []
    what = "1 token expires" if expiring == 1 else f"{expiring} tokens expire"
    url = reverse("admin:proxy_gatewaytoken_changelist") + "?state=expiring"
    return [Concern("warn", f"{what} within 7 days", url, "Renew")]


def _of_workers(now: datetime) -> list[Concern]:
    url = reverse("admin:interceptions_worker_changelist")
    waiting = Worker.objects.aggregate(n=Sum("journal_records"))["n"] or 0
    if not waiting:
        return []
    what = "1 record waits" if waiting == 1 else f"{waiting:,} records wait"
    return [
        Concern("bad", f"{what} in a local journal", url + "?journal=1", "See workers")
    ]

"""How fast the REST API and the lists of the admin are on a large database.

Run by hand, not by pytest:

    DATABASE_URL=postgres://… python manage.py migrate
    DATABASE_URL=postgres://… python manage.py seed_demo \
        --interceptions 2000000 --sessions 320000
    DATABASE_URL=postgres://… python -m tests.bench_reading

Starts a gateway of one worker, asks it over HTTP one request after the other, and
prints a table of milliseconds. Ends with 1 when a 95th percentile is above the target.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
import httpx
from django.core.management import call_command

REST, ADMIN = "/api/aigateway/", "/admin/interceptions/"
TARGETS_MS = {REST: 150.0, ADMIN: 200.0}
_AUDITOR = "demo-auditor"


@dataclass(frozen=True)
class Case:
    """Requests of one kind; ``urls`` gives another one each time it is asked."""

    name: str
    urls: Callable[[], str]
    below: str = REST

    @property
    def target(self) -> float:
        return TARGETS_MS[self.below]


def main() -> int:
    arguments = _arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibridge_site.settings")
    os.environ["DEBUG"] = "False"
    with tempfile.TemporaryDirectory() as directory:
        # The gateway reads its keys from there, too.
        os.environ["AIBRIDGE_DATA_DIR"] = directory
        os.environ["AIBRIDGE_STATIC_ROOT"] = static = f"{directory}/static"
        django.setup()
        call_command("collectstatic", interactive=False, verbosity=0)
        from tests.live.gateway import Gateway

        url = os.environ["DATABASE_URL"]
        with (
            # While debugging, Django keeps the text of every query.
            Gateway(
                url, Path(directory), DEBUG="False", AIBRIDGE_STATIC_ROOT=static
            ) as node,
            httpx.Client(base_url=node.url, headers=_headers(), timeout=120) as api,
        ):
            slow = _measure_all(api, arguments)
            _measure_export(api, node.workers()[0], arguments.export)
    return 1 if slow else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=40, help="of each kind")
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--export", type=int, default=1_000_000, help="rows")
    return parser.parse_args()


def _headers() -> dict[str, str]:
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.test import Client

    from proxy.actors import issue_token

    owner = get_user_model().objects.get(username=_AUDITOR)
    browser = Client()
    browser.force_login(owner)
    session = browser.cookies[settings.SESSION_COOKIE_NAME].value
    return {
        "Authorization": f"Bearer {issue_token(owner, 'bench')[1]}",
        "Cookie": f"{settings.SESSION_COOKIE_NAME}={session}",
    }


def _measure_all(api: httpx.Client, arguments: argparse.Namespace) -> bool:
    print(f"{'':44} {'count':>7} {'p50':>7} {'p95':>7} {'max':>7}  ms")
    slow = False
    for case in _cases():
        if arguments.only not in case.name:
            continue
        times, count = _measure(api, case, arguments.requests)
        p95 = statistics.quantiles(times, n=20)[-1]
        slow |= p95 > case.target
        mark = " <-- above the target" if p95 > case.target else ""
        print(
            f"{case.name:44} {count:>7} {statistics.median(times):7.1f} {p95:7.1f} "
            f"{max(times):7.1f}{mark}",
            flush=True,
        )
    return slow


def _measure(api: httpx.Client, case: Case, number: int) -> tuple[list[float], str]:
    times, count = [], "-"
    for turn in range(number + 3):
        url = case.below + case.urls()
        began = time.perf_counter()
        answer = api.get(url)
        elapsed = (time.perf_counter() - began) * 1000
        answer.raise_for_status()
        # The first ones warm caches, as the target asks.
        if turn >= 3:
            times.append(elapsed)
        body = answer.json() if case.below == REST else None
        if isinstance(body, dict) and "count" in body:
            count = f"{body['count']}{'+' if body['count_is_capped'] else ''}"
    return times, count


def _cases() -> Iterator[Case]:
    rng = random.Random(7)
    facts = _Facts(rng)
    yield from _interception_cases(rng, facts)
    yield from _session_cases(rng, facts)
    yield from _page_cases(rng, facts)
    for name in ("models/", "models/?q=claude", "clients/", "provider-names/"):
        yield Case(name, lambda name=name: name)


def _interception_cases(rng: random.Random, facts: _Facts) -> Iterator[Case]:
    yield Case("interceptions", lambda: "interceptions/")
    yield Case("interceptions, limit 1000", lambda: "interceptions/?limit=1000")
    yield Case(
        "interceptions, any depth",
        lambda: f"interceptions/?after_id={rng.choice(facts.ids)}",
    )
    yield Case("interception", lambda: f"interceptions/{rng.choice(facts.ids)}/")
    for name, values in facts.filters.items():
        for value in values:
            query = f"{name}={value}"
            yield Case(f"interceptions {query}"[:43], _fixed("interceptions/", query))
            if name not in {"session_id", "thread_id"}:
                yield Case(f"  {query}, any depth"[:43], _deep(rng, facts, query))


def _session_cases(rng: random.Random, facts: _Facts) -> Iterator[Case]:
    yield Case("sessions", lambda: "sessions/")
    yield Case("sessions, limit 1000", lambda: "sessions/?limit=1000")
    yield Case(
        "sessions, any depth", lambda: f"sessions/?cursor={rng.choice(facts.cursors)}"
    )
    for name, values in facts.session_filters.items():
        for value in values:
            query = f"{name}={value}"
            yield Case(f"sessions {query}"[:43], _fixed("sessions/", query))
            yield Case(
                f"  sessions {query}, any depth"[:43],
                lambda query=query: (
                    f"sessions/?{query}&cursor={rng.choice(facts.cursors)}"
                ),
            )
    yield Case("session", lambda: f"sessions/{rng.choice(facts.sessions)}/")
    yield Case("session by its own id", lambda: f"sessions/{rng.choice(facts.names)}/")
    yield Case("session of 20,000", lambda: f"sessions/{facts.longest}/")
    yield Case(
        "session of 20,000, any depth",
        lambda: f"sessions/{facts.longest}/?after_id={rng.choice(facts.threads)}",
    )


def _page_cases(rng: random.Random, facts: _Facts) -> Iterator[Case]:
    """The changelists as an auditor sees them, and what a click on a row opens."""
    lists = {"interception": facts.filters, "session": facts.session_filters}
    for kind, filters in lists.items():
        for since in ("24h", "30d", "all"):
            query = f"{kind}/?since={since}"
            yield Case(f"page {query}", _fixed(f"{kind}/", f"since={since}"), ADMIN)
        for name, values in filters.items():
            for value in values:
                query = f"since=all&{name}={value}"
                label = f"page {kind}/?{name}={value}"[:43]
                yield Case(label, _fixed(f"{kind}/", query), ADMIN)
    yield Case(
        "page of an interception",
        lambda: f"interception/{rng.choice(facts.ids)}/change/",
        ADMIN,
    )
    yield Case(
        "page of a session",
        lambda: f"session/{rng.choice(facts.sessions)}/change/",
        ADMIN,
    )
    yield Case(
        "page of a session of 20,000",
        lambda: f"session/{facts.longest}/change/",
        ADMIN,
    )


def _fixed(path: str, query: str) -> Callable[[], str]:
    return lambda: f"{path}?{query}"


def _deep(rng: random.Random, facts: _Facts, query: str) -> Callable[[], str]:
    return lambda: f"interceptions/?{query}&after_id={rng.choice(facts.ids)}"


class _Facts:
    """Ids, names and values to ask for, drawn from the database."""

    def __init__(self, rng: random.Random) -> None:
        from interceptions.models import Interception, Session
        from providers.api.paging import write_cursor
        from providers.models import AiProvider

        self.ids = _sample(Interception.objects.order_by("id"), "id", 200)
        chosen = _sample(Session.objects.order_by("id"), "id", 200)
        sessions = list(Session.objects.filter(pk__in=chosen))
        self.sessions = [row.pk for row in sessions]
        self.names = [row.session_id for row in sessions]
        self.cursors = [
            write_cursor("a", row.last_active_at, row.pk) for row in sessions
        ]
        longest = Session.objects.order_by("-interceptions")[0]
        self.longest = longest.pk
        rows = Interception.objects.filter(
            session_id=longest.session_id, initiator=longest.initiator
        )
        self.threads = _sample(rows.order_by("thread_id"), "thread_id", 100)
        days = [row.started_at for row in sessions]
        old, new = min(days), max(days)
        middle = (old + (new - old) / 2).isoformat().replace("+00:00", "Z")
        hour = (old + (new - old) * 0.503).isoformat().replace("+00:00", "Z")
        providers = dict(AiProvider.all_objects.values_list("name", "pk"))
        thread = rng.choice(self.threads)
        self.filters: dict[str, list[Any]] = {
            "initiator": ["demo-admin", "demo-24", "demo-01"],
            "provider_id": [*providers.values(), "none"],
            "provider": ["demo-openai", "nothing"],
            "kind": ["anthropic", "copilot", "google"],
            "model": ["claude-sonnet-4-5", "text-probe-1", "nothing"],
            "client": ["Claude Code", "Unknown", "nothing"],
            "session_id": [self.names[5], longest.session_id, "nothing"],
            "thread_id": [thread],
            "outcome": ["completed", "failed", "cancelled", "in_progress"],
            "error_type": ["rate_limited", "unknown"],
            "credential_kind": ["centralized", "byok"],
            "started_before": [middle],
            "started_after": [middle, f"{middle}&started_before={hour}"],
            "prompt": ["fix", "dashboard", "migration+index", "quasar", "nothing"],
            "q": ["demo-01+outcome:failed+model:claude-haiku-4-5"],
        }
        self.session_filters: dict[str, list[Any]] = {
            "initiator": ["demo-admin", "demo-24"],
            "provider_id": [*providers.values(), "none"],
            "provider": ["demo-openai", "nothing"],
            "kind": ["anthropic", "google"],
            "model": ["claude-sonnet-4-5", "text-probe-1", "nothing"],
            "client": ["Claude Code", "nothing"],
            "session_id": [self.names[7], "nothing"],
            "failed": ["true", "false"],
            "started_before": [middle],
            "started_after": [middle],
            "active_before": [middle],
            "active_after": [middle],
            "prompt": ["fix", "dashboard", "quasar", "nothing"],
        }


def _sample(rows: Any, column: str, number: int) -> list[Any]:
    values = list(rows.values_list(column, flat=True).iterator(chunk_size=10_000))
    return values[:: max(1, len(values) // number)]


def _measure_export(api: httpx.Client, pid: int, rows: int) -> None:
    if not rows:
        return
    for name in ("interceptions.jsonl", "interceptions.csv"):
        before, most, seen, size = _memory(pid), 0, 0, 0
        began = time.perf_counter()
        with api.stream("GET", f"/api/aigateway/exports/{name}") as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                seen += chunk.count(b"\n")
                size += len(chunk)
                most = max(most, _memory(pid))
                if seen >= rows:
                    break
        seconds = time.perf_counter() - began
        print(
            f"{name}: {seen} rows, {size / 2**20:.0f} MiB, {seconds:.0f} s; "
            f"memory of the worker {before:.0f} MiB, grew by {most - before:.1f} MiB"
        )


def _memory(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main())

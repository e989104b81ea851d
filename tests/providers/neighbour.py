"""Another process of the gateway, which says what it hears: run by test_changes.

Prints a JSON line whenever the first key's state or the set of providers changes, with
the monotonic time. Reads commands from its standard input: rest, retire, end.
"""

from __future__ import annotations

import sys

if "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import json
import os
import select
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibridge_site.settings")
django.setup()

from providers import changes, keystate, registry  # noqa: E402
from providers.keypool import KeyPoolExhausted  # noqa: E402


def look() -> dict[str, object]:
    """Return what this process would act on now."""
    provider = registry.get("main")
    return {
        "providers": [each.name for each in registry.all()],
        "states": [provider.pool.state(key) for key in provider.pool.keys]
        if provider and provider.pool
        else [],
        "topics": dict(heard),
        "live": changes.is_live(),
    }


heard = {"tokens": 0, "users": 0}


def count(topic: str) -> None:
    heard[topic] += 1


def obey(command: str) -> None:
    provider = registry.get("main")
    key = next(provider.pool.walk())
    if command == "rest":
        keystate.report_temporary(
            provider, key, cooldown=60, reason="rate_limited", status=429
        )
    if command == "retire":
        keystate.report_permanent(provider, key, reason="unauthorized", status=401)


def main() -> None:
    changes.subscribe("tokens", lambda: count("tokens"))
    changes.subscribe("users", lambda: count("users"))
    registry.start()
    seen: dict[str, object] = {}
    while True:
        now = look()
        if now != seen:
            seen = now
            print(json.dumps(now | {"at": time.monotonic()}), flush=True)
        ready, _, _ = select.select([sys.stdin], [], [], 0.01)
        if ready:
            command = sys.stdin.readline().strip()
            if command in {"", "end"}:
                return
            try:
                obey(command)
            except KeyPoolExhausted as error:
                print(json.dumps({"error": str(error)}), flush=True)


main()

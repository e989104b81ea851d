"""Runs the load and the disasters, then audits; ends with 1 when something was lost.

The whole takes about four minutes, ``--quick`` about one.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable

from tests.chaos import records
from tests.chaos.audit import BACK_AGAIN, Evidence, audit
from tests.chaos.disasters import FULL, QUICK, Disasters
from tests.chaos.load import Load
from tests.chaos.world import SWEEP_SECONDS, World, made

_SHOWN = 5
_LONGEST = 600.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--requests", type=int, help="that reach upstream, at least")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    requests = options.requests or (600 if options.quick else 5000)
    with made(options.workers) as world:
        disasters = Disasters(
            world.gateway,
            world.cluster,
            QUICK if options.quick else FULL,
            lambda: records.count_journaled(world.data),
        )
        began = time.monotonic()
        load = Load(world.gateway.url, world.providers, world.token)
        load.start(options.clients)
        disasters.play()
        _wait(lambda: len(records.tries(world.upstream.requests)) >= requests, _LONGEST)
        load.stop()
        swept = _wait(lambda: not records.count_open(), 20 * SWEEP_SECONDS)
        print(f"{time.monotonic() - began:.0f} s, all ended: {swept}")
        print(f"records in journals, at most    {max(disasters.journaled)}")
        evidence = Evidence(
            load.seen,
            records.tries(world.upstream.requests),
            records.stored(),
            disasters.kills,
            disasters.outages,
            _left_in_journals(world),
        )
        return _report(evidence, requests)


def _wait(is_true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_true():
            return True
        time.sleep(0.2)
    return False


def _left_in_journals(world: World) -> int:
    _wait(lambda: not records.count_journaled(world.data), 10)
    return records.count_journaled(world.data)


def _report(evidence: Evidence, wanted: int) -> int:
    away = ", ".join(f"{end - start:.0f} s" for start, end in evidence.outages)
    print(f"workers killed                  {len(evidence.kills)}")
    print(f"database away                   {away}")
    print(f"last 503 after it was back      {_last_refusal(evidence):.1f} s")
    print(f"requests by clients             {len(evidence.seen)}")
    print(f"requests that reached upstream  {len(evidence.tries)}")
    print(f"interceptions                   {len(evidence.records)}")
    print(
        f"clients saw                     {_counted(s.result for s in evidence.seen)}"
    )
    print(
        f"statuses                        {_counted(s.status for s in evidence.seen)}"
    )
    outcomes = _counted(r.outcome for r in evidence.records)
    print(f"outcomes recorded               {outcomes}")
    print(f"ended by the sweeper            {_swept(evidence)}")
    found = audit(evidence)
    for rule, findings in found.items():
        print(f"{len(findings):>6}  {rule}")
        for finding in findings[:_SHOWN]:
            print(f"        {finding}")
    is_enough = len(evidence.tries) >= wanted
    if not is_enough:
        print(f"fewer than {wanted} requests reached upstream")
    return 0 if is_enough and not any(found.values()) else 1


def _counted(values: Iterable[object]) -> str:
    counts = Counter(str(value) for value in values)
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _last_refusal(evidence: Evidence) -> float:
    """Return how many seconds after an outage a client was refused at the latest."""
    late = [
        seen.ended - end
        for seen in evidence.seen
        for start, end in evidence.outages
        if seen.status == 503 and 0 < seen.ended - end < BACK_AGAIN
    ]
    return max(late, default=0.0)


def _swept(evidence: Evidence) -> int:
    return sum(record.error_type == "unknown" for record in evidence.records)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of the fake provider must not delay the end.
    os._exit(code)

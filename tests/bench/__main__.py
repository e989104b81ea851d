"""Runs each scenario against nginx and the gateway in turn, and prints ratios.

The server under measurement has one CPU, everything else the other. CPU time of the
server is the steadiest figure; compare figures of one run only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.bench import servers

_WORDS = "You are a careful coding assistant working in a large repository. "


@dataclass(frozen=True)
class Scenario:
    """Load and the shape of upstream's answers (see src/ for the options)."""

    name: str
    about: str
    load: list[str]
    shape: str
    api: str = "messages"
    streaming: bool = False
    padding: int = 18
    per: str = "done"


SSE = "c=300&d=0&s=24&f=0&k=1&b=400"
SCENARIOS = [
    Scenario("block", "64 connections, small answers", ["-c64", "-t5"], SSE),
    Scenario("chat", "the same, Chat", ["-c64", "-t4"], SSE, "chat"),
    Scenario("responses", "the same, Responses", ["-c64", "-t4"], SSE, "responses"),
    Scenario("sse", "64 streams of 300 deltas, no pause",
             ["-c64", "-t6", "-e300"], SSE, "messages", True, per="deltas"),
    Scenario("paced", "64 streams, 50 deltas a second each",
             ["-c64", "-g1500", "-t6", "-e100"], "c=100&d=20000&s=24&f=0&k=1&b=400",
             "messages", True, per="deltas"),
    Scenario("lat", "25 requests a second", ["-c8", "-r25", "-t5"], SSE),
    Scenario("big", "200 KB requests", ["-c64", "-t5"], SSE, padding=3000),
    Scenario("wait", "256 in flight, answer after 100 ms",
             ["-c256", "-t5"], "c=300&d=0&s=24&f=100000&k=1&b=400"),
]  # fmt: skip


@dataclass
class Result:
    """Medians over the rounds of one server in one scenario."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(r[name] for r in self.rounds)


def body(api: str, *, streaming: bool, padding: int) -> bytes:
    text = _WORDS * padding
    asked: dict[str, object] = {"model": "claude-sim"}
    if api == "messages":
        asked |= {"max_tokens": 1024, "system": text}
    if api == "responses":
        asked |= {"instructions": text, "input": "hello"}
    else:
        asked["messages"] = [
            {"role": "user", "content": text if api == "chat" else "hi"}
        ]
    if streaming:
        asked["stream"] = True
        if api == "chat":
            asked["stream_options"] = {"include_usage": True}
    return json.dumps(asked).encode()


PATHS = {
    "messages": ("ant", "/v1/messages"),
    "chat": ("oai", "/v1/chat/completions"),
    "responses": ("oai", "/v1/responses"),
}


def measure(
    where: Path, server: servers.Server, port: int, token: str, scenario: Scenario
) -> dict[str, float]:
    """Run one scenario once and return its figures."""
    file = where / "body.json"
    file.write_bytes(
        body(scenario.api, streaming=scenario.streaming, padding=scenario.padding)
    )
    provider, path = PATHS[scenario.api]
    if token:
        path = f"/aibridge/{provider}{path}"
    before = server.cpu_seconds()
    done = subprocess.run(
        ["taskset", "-c", servers.TOOLS_CPU, where / "loadgen", "-p", str(port),
         "-u", path, "-b", file, "-H", f"Authorization: Bearer {token or 'bench-key'}",
         *scenario.load],  # fmt: skip
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    figures = json.loads(done.stdout)
    work = figures["done"] if scenario.per == "done" else figures["deltas"]
    cpu = server.cpu_seconds() - before
    return {
        "rate": work / figures["secs"],
        "cpu_us": cpu / max(work, 1) * 1e6,
        "errors": figures["errs"],
        "p50_ms": (figures["total"] or {}).get("p50", 0) / 1000,
        "p99_ms": (figures["total"] or {}).get("p99", 0) / 1000,
        "first_ms": (figures["ttfb"] or {}).get("p50", 0) / 1000,
        "delay_us": (figures["chunk"] or {}).get("p50", 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("scenarios", nargs="*", help="default: all")
    options = parser.parse_args()
    # The database and all else that is not measured inherit this.
    os.sched_setaffinity(0, {int(servers.TOOLS_CPU)})
    chosen = [
        s for s in SCENARIOS if not options.scenarios or s.name in options.scenarios
    ]
    with tempfile.TemporaryDirectory(prefix="aibridge-bench-") as directory:
        where = Path(directory)
        where.chmod(0o755)
        servers.build(where)
        upstream, port = servers.start_upstream(where)
        try:
            run(where, port, chosen, options.rounds)
        finally:
            upstream.stop()


_HEAD = ("scenario", "server", "rate/s", "CPU us", "p50 ms", "p99 ms", "first ms")
_ROW = "{:10} {:8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}"


def run(where: Path, upstream: int, chosen: list[Scenario], rounds: int) -> None:
    nginx = servers.start_nginx(where, upstream)
    try:
        with servers.gateway(where, upstream) as (gateway, port, token):
            measured = [(gateway, port, token)]
            if nginx is not None:
                measured.insert(0, (*nginx, ""))
            print(_ROW.format(*_HEAD, "delay us", "errors"))
            for scenario in chosen:
                results = [
                    (each[0].name, collect(where, upstream, *each, scenario, rounds))
                    for each in measured
                ]
                show(scenario, results)
            print(f"gateway memory: {gateway.memory_mb():.0f} MB (PSS)")
    finally:
        if nginx is not None:
            nginx[0].stop()


def collect(
    where: Path,
    upstream: int,
    server: servers.Server,
    port: int,
    token: str,
    scenario: Scenario,
    rounds: int,
) -> Result:
    httpx.get(f"http://127.0.0.1:{upstream}/__ctl?{scenario.shape}")
    result = Result()
    measure(where, server, port, token, scenario)  # warms up
    for _ in range(rounds):
        result.rounds.append(measure(where, server, port, token, scenario))
    return result


def show(scenario: Scenario, results: list[tuple[str, Result]]) -> None:
    for name, result in results:
        m = result.median
        figures = [f"{m('rate'):.0f}", f"{m('cpu_us'):.1f}"]
        figures += [f"{m(each):.2f}" for each in ("p50_ms", "p99_ms", "first_ms")]
        figures += [f"{m('delay_us'):.0f}", f"{m('errors'):.0f}"]
        print(_ROW.format(scenario.name, name, *figures), flush=True)
    if len(results) == 2:
        nginx, ours = (result for _, result in results)
        rate = ours.median("rate") / nginx.median("rate")
        cpu = ours.median("cpu_us") / nginx.median("cpu_us")
        print(
            f"{'':10} gateway: {rate:.3f} of nginx's rate, {cpu:.1f} times its CPU "
            f"({scenario.about})",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())

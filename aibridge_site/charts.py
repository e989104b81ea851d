"""Bar charts as numbers a template can draw: no library, no script, no canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

WIDTH = 560
HEIGHT = 150
_GAP = 0.22


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar, in the chart's units; ``name`` chooses its colour."""

    name: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of time: a link to what happened in it, and its parts."""

    x: float
    width: float
    hit_x: float
    hit_width: float
    start: datetime
    url: str
    summary: str
    segments: list[Segment] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chart:
    """A stacked bar chart; ``ticks`` are (y, value) lines, ``labels`` (x, moment)."""

    title: str
    legend: list[tuple[str, str, int]]
    bars: list[Bar]
    ticks: list[tuple[float, int]]
    labels: list[tuple[float, datetime]]
    label_format: str = "H:i"
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def is_empty(self) -> bool:
        return not any(bar.segments for bar in self.bars)


def round_up(value: float) -> int:
    """Return the next number that is 1, 2, 4, 5 or 10 times a power of ten."""
    power = 1
    while power * 10 < value:
        power *= 10
    return next(power * step for step in (1, 2, 4, 5, 10) if power * step >= value)


def stacked(
    title: str,
    buckets: Sequence[Any],
    parts: dict[str, str],
    urls: Sequence[str],
    *,
    label_format: str = "H:i",
) -> Chart:
    """Return a chart of the buckets' attributes; ``parts`` is attribute -> label."""
    totals = {name: sum(getattr(b, name) for b in buckets) for name in parts}
    top = round_up(max(sum(getattr(b, name) for name in parts) for b in buckets) or 1)
    step = WIDTH / len(buckets)
    bars = [
        _bar(bucket, parts, index * step, step, top, urls[index])
        for index, bucket in enumerate(buckets)
    ]
    every = max(1, len(buckets) // 6)
    return Chart(
        title=title,
        legend=[(name, label, totals[name]) for name, label in parts.items()],
        bars=bars,
        ticks=[(HEIGHT, 0), (HEIGHT / 2, top // 2 or top), (0, top)][
            : 3 if top > 1 else 1
        ],
        label_format=label_format,
        labels=[
            ((index + 0.5) * step, bucket.start)
            for index, bucket in enumerate(buckets)
            if index % every == 0
        ],
    )


def _bar(
    bucket: Any, parts: dict[str, str], x: float, step: float, top: int, url: str
) -> Bar:
    base = float(HEIGHT)
    segments = []
    for name in parts:
        height = getattr(bucket, name) * HEIGHT / top
        if height:
            base -= height
            segments.append(Segment(name, round(base, 2), round(height, 2)))
    said = ", ".join(f"{getattr(bucket, name):,} {parts[name]}" for name in parts)
    return Bar(
        x=round(x + step * _GAP / 2, 2),
        width=round(step * (1 - _GAP), 2),
        hit_x=round(x, 2),
        hit_width=round(step, 2),
        start=bucket.start,
        url=url,
        summary=said,
        segments=segments,
    )

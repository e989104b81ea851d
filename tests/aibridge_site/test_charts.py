"""Bars as high as their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from aibridge_site.charts import HEIGHT, round_up, stacked

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Bucket:
    good: int
    bad: int
    start: datetime = START


@pytest.mark.parametrize(
    ("value", "top"), [(1, 1), (3, 4), (7, 10), (10, 10), (11, 20), (4321, 5000)]
)
def test_scale_ends_at_a_round_number(value, top):
    assert round_up(value) == top


def test_parts_stand_on_each_other_and_reach_their_share():
    chart = stacked(
        "Requests",
        [Bucket(6, 4), Bucket(0, 0)],
        {"good": "good ones", "bad": "bad ones"},
        ["/a", "/b"],
    )
    good, bad = chart.bars[0].segments
    assert (good.y, good.height) == (HEIGHT * 0.4, HEIGHT * 0.6)
    assert (bad.y, bad.height) == (0, HEIGHT * 0.4)
    assert chart.bars[0].summary == "6 good ones, 4 bad ones"
    assert chart.bars[1].segments == []
    assert chart.legend == [("good", "good ones", 6), ("bad", "bad ones", 4)]


def test_chart_of_nothing_is_empty():
    chart = stacked("Requests", [Bucket(0, 0)] * 3, {"good": "good"}, [""] * 3)
    assert chart.is_empty

"""Sums of the further counts that providers report."""

from __future__ import annotations

import pytest

from interceptions.models import TokenUsage
from interceptions.tokens import sum_of_metadata
from tests.interceptions.rows import make_interception, make_user


@pytest.mark.parametrize(
    ("counts", "total"),
    [
        ([], {}),
        ([{"a": 2}, {}, {"a": 3, "b": 1}], {"a": 5, "b": 1}),
        ([{"cost": 0.5}, {"cost": 0.25}], {"cost": 0.75}),
        ([{"tier": "standard", "is_batch": True, "list": [1], "none": None}], {}),
        ([{"details": {"text": 1}}, {"details": {"text": 2}, "plain": 3}],
         {"details.text": 3, "plain": 3}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("column", ["extra", "metadata"])
def test_numbers_are_summed_by_their_path(db, counts, total, column):
    row = make_interception(make_user("ana"))
    for each in counts:
        TokenUsage.objects.create(interception=row, **{column: each})
    found = sum_of_metadata(TokenUsage.objects.order_by())
    assert found == total
    assert [type(number) for number in found.values()] == [
        type(total[name]) for name in found
    ]

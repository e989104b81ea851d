"""What counts as a reminder, and which item counts as the last."""

from __future__ import annotations

import time

import pytest

from proxy.dialects.prompts import is_reminder, last_item, user_texts

ONE = "<system-reminder>a</system-reminder>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(ONE, True, id="one"),
        pytest.param(f"\n {ONE}\n", True, id="spaces around"),
        pytest.param(f"{ONE}\n{ONE}", True, id="two"),
        pytest.param("<system-reminder>\na\nb\n</system-reminder>", True, id="lines"),
        pytest.param("<system-reminder></system-reminder>", True, id="empty element"),
        pytest.param(f"{ONE} then this", False, id="text after"),
        pytest.param(f"first this {ONE}", False, id="text before"),
        pytest.param(f"{ONE} between {ONE}", False, id="text between"),
        pytest.param("<system-reminder>a", False, id="never closed"),
        pytest.param("a</system-reminder>", False, id="never opened"),
        pytest.param("", False, id="nothing"),
        pytest.param("hello", False, id="plain"),
    ],
)
def test_reminder(text, expected):
    assert is_reminder(text) is expected


def test_many_reminders_with_a_tail_are_judged_at_once():
    began = time.process_time()
    assert not is_reminder(ONE * 500_000 + "x" + ONE)
    assert time.process_time() - began < 5


def test_reminders_alone_are_all_there_is():
    blocks = [{"type": "text", "text": ONE}, {"type": "text", "text": ONE + ONE}]
    assert user_texts(blocks, "text") == [ONE, ONE + ONE]


@pytest.mark.parametrize("items", [None, "x", {}, [], [None], [{"role": "system"}]])
def test_no_last_item(items):
    assert last_item(items) == {}


def test_item_of_an_odd_type_still_is_the_last():
    assert last_item([{"role": "user"}, "odd"]) == {}

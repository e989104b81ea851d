"""Rows of the reference's masking table, and scrubbing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.masking import mask, scrub


@pytest.mark.parametrize(
    ("secret", "hint"),
    [
        ("", ""),
        ("x", "..."),
        ("ab", "..."),
        ("abcd", "..."),
        ("short", "s...t"),
        ("veryshort", "v...t"),
        ("thisisquitelong", "th...ng"),
        ("sk-ant-api03-abcdefgh", "sk-a...efgh"),
        ("hélloworld🌍!", "hé...🌍!"),
        ("ghp_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefgh", "ghp_...efgh"),
    ],
)
def test_mask_shows_the_ends_only(secret, hint):
    assert mask(secret) == hint


@given(st.text(max_size=200))
def test_hint_is_short_and_never_the_secret(secret):
    hint = mask(secret)
    assert len(hint) <= 11
    assert not secret or hint != secret or secret == "..."


def test_scrub_replaces_each_secret_by_its_hint():
    text = "key sk-ant-api03-abcdefgh and again sk-ant-api03-abcdefgh"
    assert scrub(text, ["sk-ant-api03-abcdefgh", ""]) == (
        "key sk-a...efgh and again sk-a...efgh"
    )

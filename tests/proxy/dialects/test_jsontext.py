"""Reading JSON of strangers, and writing what was edited."""

from __future__ import annotations

import pytest

from proxy.dialects.jsontext import (
    as_text,
    read_exact_json,
    read_json,
    write_json,
)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{" * 100_000, b"1" * 5000, b"nul"]
)
def test_no_json_is_none(raw):
    assert read_json(raw) is None


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'"\\ud800"', "\ud800"),
        (b'"\xe2\x82"', "�"),
        (b"[NaN]", None),
    ],
    ids=["plain", "lone surrogate", "torn character", "nan"],
)
def test_what_strict_parsers_refuse_is_read(raw, value):
    found = read_json(raw)
    assert found == value or (value is None and found[0] != found[0])


def test_edited_json_keeps_order_numbers_and_text():
    raw = '{"b":1.0,"a":123456789012345678901234567890,"é":"\u2028"}'
    assert write_json(read_exact_json(raw.encode())) == raw


def test_lone_surrogates_survive_an_edit():
    raw = b'{"a":"\\ud800"}'
    assert write_json(read_exact_json(raw)).encode() == raw


def test_what_is_nested_too_deeply_is_written_as_nothing():
    value: object = 1
    for _ in range(100_000):
        value = [value]
    assert write_json(value) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("é€😀", "é€😀"),
        ("a\ud800b", "a�b"),
        ("\ud83d\ude00", "😀"),
        (None, ""),
        (7, ""),
        (["x"], ""),
    ],
)
def test_text_can_always_be_stored(value, text):
    assert as_text(value) == text
    as_text(value).encode()

"""Editing JSON text leaves everything else as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.splice import (
    REMOVED,
    NotAnObject,
    Raw,
    edit_member,
    edit_object,
    extend_array,
    member_text,
)

BODY = b' {"a" : 1.0 , "b":[1e5, {"x":"\\u00e9\\/"}],"c":12345678901234567890 } '


def test_other_members_keep_their_bytes():
    edited = edit_object(BODY, {"new": True})
    assert edited == BODY.replace(b" } ", b' ,"new":true} ')


def test_member_is_replaced_in_its_place():
    assert edit_object(b'{"a":1, "b":2}', {"a": "x"}) == b'{"a":"x", "b":2}'


def test_member_is_removed():
    assert edit_object(b'{"a":1,"b":2}', {"a": REMOVED}) == b'{"b":2}'
    assert edit_object(b'{"a":1}', {"a": REMOVED, "z": REMOVED}) == b"{}"


def test_repeated_member_is_replaced_everywhere():
    assert edit_object(b'{"a":1,"a":2}', {"a": REMOVED}) == b"{}"


def test_nothing_to_change_returns_the_very_bytes():
    assert edit_object(BODY, {}) is BODY


def test_bytes_that_are_no_utf8_survive():
    body = b'{"a":"\xff\xfe","b":1}'
    assert edit_object(body, {"b": 2}) == b'{"a":"\xff\xfe","b":2}'


def test_raw_text_is_not_encoded_again():
    assert edit_object(b"{}", {"a": Raw("1.50")}) == b'{"a":1.50}'


def test_member_of_a_member():
    body = b'{"m": {"id": "x", "n": 1.0}, "t": 2}'
    assert json.loads(edit_member(body, "m", {"id": "y"})) == {
        "m": {"id": "y", "n": 1.0},
        "t": 2,
    }
    assert edit_member(body, "absent", {"id": "y"}) == body


def test_member_text_is_the_last_of_that_name():
    assert member_text(b'{"a":1,"a": [2] }', "a") == "[2]"
    assert member_text(b'{"a":1}', "b") is None


@pytest.mark.parametrize(
    ("array", "front", "expected"),
    [
        ("[ 1, 2 ]", True, '["x", 1, 2 ]'),
        ("[ 1, 2 ]", False, '[ 1, 2 ,"x"]'),
        ("[ ]", False, '["x"]'),
    ],
)
def test_array_is_extended(array: str, front: bool, expected: str):
    assert extend_array(Raw(array), ["x"], front=front) == expected


@pytest.mark.parametrize("text", [b"[]", b"", b"nope", b'{"a"', b'{"a" 1}', b"{1:2}"])
def test_what_is_no_object_is_refused(text: bytes):
    with pytest.raises(NotAnObject):
        edit_object(text, {"a": 1})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(max_size=5), json_values, max_size=6),
    st.dictionaries(st.text(max_size=5), json_values, max_size=3),
    st.booleans(),
)
def test_editing_text_equals_editing_the_object(
    value: dict[str, Any], changes: dict[str, Any], indented: bool
):
    body = json.dumps(value, indent=2 if indented else None).encode(
        "utf-8", "surrogatepass"
    )
    edited = json.loads(edit_object(body, changes).decode("utf-8", "surrogatepass"))
    assert edited == json.loads(json.dumps({**value, **changes}))

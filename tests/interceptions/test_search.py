"""The search syntax, without a database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptions.search import SearchError, parse_search, quote_value


def test_elements_are_separated_by_spaces():
    assert parse_search("initiator:ana  model:gpt-5.2") == {
        "initiator": "ana",
        "model": "gpt-5.2",
    }


def test_keys_are_lower_cased_and_values_are_not():
    assert parse_search("Model:GPT-5") == {"model": "GPT-5"}


def test_quotes_protect_spaces_and_colons():
    text = 'client:"Claude Code" started_after:"2026-01-01T00:00:00Z"'
    assert parse_search(text) == {
        "client": "Claude Code",
        "started_after": "2026-01-01T00:00:00Z",
    }


def test_bare_term_belongs_to_the_default_key():
    assert parse_search("ana", default_key="initiator") == {"initiator": "ana"}
    assert parse_search('"ana maria"', default_key="initiator") == {
        "initiator": "ana maria"
    }


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("a:b:c", "can only contain 1 ':'"),
        ("started_after:2026-01-01T00:00:00Z", "can only contain 1 ':'"),
        (":ana", "cannot start or end with ':'"),
        ("initiator:", "cannot start or end with ':'"),
        ('initiator:""', "cannot start or end with ':'"),
        ("ana", "no search key specified"),
        ('""', "is empty"),
        ('model:"gpt', "not closed"),
        ("model:a model:b", "more than once"),
    ],
)
def test_text_outside_the_syntax_is_refused(text, detail):
    with pytest.raises(SearchError, match=detail):
        parse_search(text)


def test_every_problem_is_told_at_once():
    with pytest.raises(SearchError) as caught:
        parse_search("a:b:c :d ana")
    assert len(caught.value.details) == 3


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text):
    try:
        found = parse_search(text, default_key="initiator")
    except SearchError:
        return
    assert all(isinstance(value, str) for value in found.values())


@given(st.text(min_size=1, max_size=40).filter(lambda v: v.strip() and '"' not in v))
def test_a_quoted_value_comes_back(value):
    found = parse_search(f"model:{quote_value(value)}")
    assert found["model"].strip() == value.strip()

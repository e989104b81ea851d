"""Recorded text cannot act on who reads it."""

from __future__ import annotations

import pytest

from interceptions.plaintext import excerpt, pretty_json, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("a\x00b\x07c\x7fd", "a␀b␇c␡d"),
        ("user\u202egpj.exe", "user⟦RLO⟧gpj.exe"),
        ("\u2066hidden\u2069", "⟦LRI⟧hidden⟦PDI⟧"),
        ("lone \ud800 half", "lone ⟦U+D800⟧ half"),
        ("c1 \x9b control", "c1 ⟦U+009B⟧ control"),
        ("line\r\nnext\tcell", "line\nnext\tcell"),
        ("overwrite\rthis", "overwrite␍this"),
    ],
)
def test_acting_characters_are_shown_as_symbols(text, shown):
    assert visible(text) == shown


def test_ordinary_text_of_any_script_is_left_alone():
    text = "naïve 日本語 עברית العربية 👩‍💻 <b>&amp;</b>\n\t{}"
    assert visible(text) == text


def test_json_is_indented_and_anything_else_stays_as_it_is():
    assert pretty_json('{"a":[1,"ü"]}') == '{\n  "a": [\n    1,\n    "ü"\n  ]\n}'
    assert pretty_json('{"cut": "off') == '{"cut": "off'
    assert pretty_json("12") == "12"


def test_json_nested_beyond_reason_is_shown_as_it_is():
    deep = "[" * 100_000
    assert pretty_json(deep) == deep


def test_excerpt_knows_when_it_is_the_whole():
    assert excerpt("abc", shown=5).is_whole
    assert not excerpt("abcdef", shown=5).is_whole
    assert not excerpt("abc", size=10, shown=5).is_whole
    assert excerpt(None).text == ""

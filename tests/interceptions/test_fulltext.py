"""Finding words in prompts, the same on both engines."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from interceptions import fulltext
from interceptions.filters import InterceptionFilter
from interceptions.models import Interception
from tests.interceptions.happenings import happen
from tests.interceptions.rows import make_user

PROMPT = (
    "Fix billing/invoices.py: <note>the retry-loop</note> fails in user_id=42 (again)"
)


@pytest.fixture
def ana(db):
    return make_user("ana")


def found(text):
    filters = InterceptionFilter({"prompt": text}, Interception.objects.all())
    assert filters.is_valid(), filters.problems
    return filters.qs.exists()


@pytest.mark.parametrize(
    "text",
    ["fix", "FIX", "invoices", "billing invoices", "py billing", "retry loop", "note",
     "user", "42", "again!", "'again'", "retry-loop", "the   fix"],
)  # fmt: skip
def test_prompt_with_all_words_is_found(ana, text):
    happen(ana, prompt=PROMPT)
    assert found(text)


@pytest.mark.parametrize("text", ["fi", "invoice", "fix nothing", "4", "é"])
def test_prompt_without_a_word_is_not(ana, text):
    happen(ana, prompt=PROMPT)
    assert not found(text)


@pytest.mark.parametrize("text", ["été", "дом", "größe"])
def test_letters_of_other_languages_are_words(ana, text):
    happen(ana, prompt=f"is {text} here?")
    assert found(text)


@pytest.mark.parametrize("rare", [10_000, 1])
def test_common_words_are_found_as_rare_ones_are(ana, monkeypatch, rare):
    monkeypatch.setattr(fulltext, "RARE", rare)
    cache.clear()
    rows = [happen(ana, prompt=f"fix number {number}") for number in range(3)]
    filters = InterceptionFilter({"prompt": "fix"}, Interception.objects.all())
    assert list(filters.qs) == rows[::-1]
    after = filters.between(after=rows[2].pk, before=None)
    assert list(after) == [rows[1], rows[0]]
    is_common = connection.vendor == "postgresql" and rare == 1
    assert filters.least == (2 if is_common else None)
    with CaptureQueriesContext(connection) as asked:
        fulltext.find_words("fix")
    # That a word is common is remembered; which prompts have a rare one is not.
    is_asked = connection.vendor == "postgresql" and not is_common
    assert len(asked) == is_asked
    cache.clear()


@pytest.mark.parametrize("text", ["' | 'x", "a & !b", "x:*", "x\\y", "a'b"])
def test_nothing_in_the_text_is_an_operator(ana, text):
    happen(ana, prompt="something else")
    assert not found(text)


def test_longer_prompts_than_the_index_takes_are_stored(ana):
    happen(ana, prompt="word " * 400_000)
    assert found("word")

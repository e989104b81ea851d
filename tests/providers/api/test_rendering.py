"""Writing JSON for programs."""

from __future__ import annotations

import gc
import json
import weakref
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from django.utils.translation import gettext_lazy
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from providers.api.base import StrictView
from providers.api.rendering import FastJSONRenderer, json_bytes

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        UUID(int=7), MOMENT, MOMENT.replace(microsecond=0), MOMENT.date(),
        Decimal("1.5"),
        gettext_lazy("name"), {1: "key"}, {"a": [None, True, 0.1, "é", "</script>"]},
        2**70, -(2**64), "\u2028\u2029", (), "",
    ],
)  # fmt: skip
def test_values_are_those_of_the_framework(value):
    assert json.loads(json_bytes([value])) == json.loads(JSONRenderer().render([value]))


def test_times_are_in_utc_and_end_in_z():
    assert json_bytes([MOMENT]) == b'["2026-01-02T03:04:05.000678Z"]'


def test_half_a_surrogate_pair_is_escaped():
    assert json.loads(json_bytes({"a": "\ud800"})) == {"a": "\ud800"}


@pytest.mark.parametrize("character", [*"\u0085\u2028\u2029\n\x0b\x1e"])
def test_what_ends_a_line_is_escaped(character):
    text = json_bytes({"a": character}).decode()
    assert text.splitlines() == [text]
    assert json.loads(text) == {"a": character}


def test_no_answer_has_no_body():
    assert FastJSONRenderer().render(None) == b""
    assert FastJSONRenderer().render([]) == b"[]"


class Rows(list):
    """Can be watched until it goes."""


class Listing(StrictView):
    permission_classes = [AllowAny]
    authentication_classes = []

    def get(self, request):
        return Response(request.rows())


def test_what_was_read_goes_when_the_answer_goes():
    rows = Rows([1, 2])
    watched = weakref.ref(rows)
    request = APIRequestFactory().get("/")
    request.rows = [rows].pop
    gc.collect()
    gc.disable()
    try:
        answer = Listing.as_view()(request).render()
        assert answer.content == b"[1,2]"
        del rows, answer, request
        assert watched() is None
    finally:
        gc.enable()

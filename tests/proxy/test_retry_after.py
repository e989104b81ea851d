"""parse_retry_after: the named table, HTTP-dates, and what counts as not said."""

from __future__ import annotations

import httpx
import pytest

from proxy.retry_after import parse_retry_after

NOW = 784_111_700.0  # Sun, 06 Nov 1994 08:48:20 GMT


def _parse(headers: dict[str, str]) -> float:
    return parse_retry_after(httpx.Headers(headers), now=NOW)


def test_nil_response():
    assert parse_retry_after(None, now=NOW) == 0.0


TABLE = [
    ("no_headers", {}, 0.0),
    ("openai_retry_after_ms", {"retry-after-ms": "2500"}, 2.5),
    ("whitespace_trimmed_ms", {"retry-after-ms": " 1500 "}, 1.5),
    ("negative_ms", {"retry-after-ms": "-100"}, 0.0),
    ("standard_retry_after", {"Retry-After": "60"}, 60.0),
    ("whitespace_trimmed", {"Retry-After": " 30 "}, 30.0),
    ("zero", {"Retry-After": "0"}, 0.0),
    ("negative", {"Retry-After": "-5"}, 0.0),
    ("ms_preferred", {"retry-after-ms": "1500", "Retry-After": "30"}, 1.5),
    ("invalid_ms_falls_back", {"retry-after-ms": "abc", "Retry-After": "10"}, 10.0),
    ("zero_ms_falls_back", {"retry-after-ms": "0", "Retry-After": "5"}, 5.0),
    ("both_zero", {"retry-after-ms": "0", "Retry-After": "0"}, 0.0),
]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_table_30_2(headers: dict[str, str], seconds: float):
    assert _parse(headers) == seconds


def test_milliseconds_may_have_a_fraction():
    assert _parse({"retry-after-ms": "0.5"}) == 0.0005


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "", "1_0x"])
def test_milliseconds_that_are_no_finite_number_fall_back(value: str):
    assert _parse({"retry-after-ms": value, "retry-after": "3"}) == 3.0


@pytest.mark.parametrize("value", ["5.5", "1e3", "5s", "+5", "0x10", "5, 6"])
def test_seconds_that_are_no_whole_number_are_rejected(value: str):
    assert _parse({"retry-after": value}) == 0.0


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
    ],
    ids=["imf-fixdate", "rfc850", "asctime", "unknown zone"],
)
def test_http_date_is_the_time_left_until_then(value: str):
    assert _parse({"retry-after": value}) == 77.0


def test_http_date_in_the_past_says_nothing():
    assert _parse({"retry-after": "Sun, 06 Nov 1994 08:48:19 GMT"}) == 0.0


@pytest.mark.parametrize(
    "value",
    ["tomorrow", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 99999999 08:49:37 GMT"],
)
def test_a_date_that_is_none_says_nothing(value: str):
    assert _parse({"retry-after": value}) == 0.0


def test_only_ascii_digits_count():
    assert parse_retry_after({"retry-after": "٥"}, now=NOW) == 0.0


def test_plain_lower_case_mappings_are_accepted():
    assert parse_retry_after({"retry-after": "7"}, now=NOW) == 7.0

"""How long an answer asks to wait; pure, knows neither keys nor cooldowns."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_DIGITS = re.compile(r"\d{1,18}", re.ASCII)


def parse_retry_after(headers: Mapping[str, str] | None, *, now: float) -> float:
    """Return the seconds an answer asks to wait, 0.0 when it does not say.

    ``headers`` looks names up in any case (httpx.Headers) or has them in lower case;
    ``now`` is Unix time and only matters for a date. ``retry-after-ms`` (a number)
    wins over ``Retry-After`` (whole seconds or an HTTP-date, RFC 9110 section
    10.2.3); whatever is invalid, zero, negative or past counts as not said.
    """
    if headers is None:
        return 0.0
    if milliseconds := _positive_number(headers.get("retry-after-ms", "")):
        return milliseconds / 1000
    value = headers.get("retry-after", "").strip()
    if _DIGITS.fullmatch(value):
        return float(value)
    return max(0.0, _date(value) - now)


def _positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0 < number < math.inf else 0.0


def _date(text: str) -> float:
    """Return an HTTP-date as Unix time, 0.0 when the text is none."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    # "-0000" and the obsolete asctime form have no zone; HTTP dates are in GMT.
    return date.replace(tzinfo=date.tzinfo or UTC).timestamp()

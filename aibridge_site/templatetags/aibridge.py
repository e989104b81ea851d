"""How pages write times, durations, numbers and foreign text."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from interceptions import plaintext
from interceptions.choices import Outcome

register = template.Library()

_OUTCOMES = dict(Outcome.choices)
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def relative(seconds: float) -> str:
    """Return a length of time in its largest unit, such as "3 min"."""
    for size, unit in _STEPS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"


@register.filter
def when(moment: datetime | None) -> str | SafeString:
    """Return a time element: how long ago, the absolute time on hover.

    The browser keeps it current and translates it into its own zone.
    """
    if moment is None:
        return "–"
    local = timezone.localtime(moment)
    away = (timezone.now() - moment).total_seconds()
    text = f"{relative(away)} ago" if away >= 0 else f"in {relative(-away)}"
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        moment.isoformat(),
        local.strftime("%Y-%m-%d %H:%M:%S %Z"),
        text,
    )


@register.filter
def stamp(moment: datetime | None) -> str | SafeString:
    """Return a time element that shows date and time, how long ago on hover."""
    if moment is None:
        return "–"
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}" data-stamp>{}</time>',
        moment.isoformat(),
        local.strftime("%Y-%m-%d %H:%M:%S %Z"),
        local.strftime("%Y-%m-%d %H:%M:%S"),
    )


@register.filter
def countdown(moment: datetime | None) -> str | SafeString:
    """Return a time element that counts down to a moment ahead."""
    if moment is None:
        return ""
    left = max(0.0, (moment - timezone.now()).total_seconds())
    return format_html(
        '<time datetime="{}" title="{}" data-countdown>{}</time>',
        moment.isoformat(),
        timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S %Z"),
        relative(left),
    )


@register.filter
def length_of_time(milliseconds: float | None) -> str:
    """Return milliseconds as a person reads them, such as "412 ms" or "2 min 5 s"."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1_000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


@register.filter
def until(start: datetime | None, end: datetime | None) -> str:
    """Return the time between two moments."""
    if start is None or end is None:
        return "–"
    return length_of_time((end - start).total_seconds() * 1000)


@register.filter
def change(value: Any) -> str:
    """Return an audited change, a pair of old and new or a value, as text."""
    if isinstance(value, list) and len(value) == 2:
        old, new = (_told(one) for one in value)
        return f"{old} → {new}"
    return _told(value)


def _told(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_told, value))
    return str(value)


@register.filter
def outcome_label(outcome: str) -> str:
    """Return an outcome's label; a generated column has none of its own."""
    return _OUTCOMES.get(outcome, outcome)


@register.filter
def as_json(value: Any) -> str:
    """Return a value as JSON text, indented; still unescaped."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.filter
def short(number: int | None) -> str:
    """Return a number shortened from 10,000 on, such as "1.2M"."""
    number = number or 0
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= max(size, 10_000):
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return f"{number:,}"


@register.filter
def compact(number: int | None) -> str | SafeString:
    """Return a number shortened from 10,000 on, the exact one on hover."""
    number = number or 0
    if number < 10_000:
        return f"{number:,}"
    return format_html('<span title="{}">{}</span>', f"{number:,}", short(number))


@register.filter
def visible(text: str | None) -> str:
    """Return foreign text with acting characters shown as symbols; still unescaped."""
    return plaintext.visible(text or "")


@register.filter
def one_line(text: str | None) -> str:
    """Return the start of a text as a single line; still unescaped."""
    return " ".join((text or "")[:200].split())


@register.filter
def share(part: float, whole: float) -> str:
    """Return part of whole in per cent."""
    return f"{100 * part / whole:.0f} %" if whole else "–"


@register.filter
def item(mapping: dict[Any, Any], key: Any) -> Any:
    """Return a mapping's value, or None."""
    return mapping.get(key)


@register.inclusion_tag("aibridge/parts/text.html")
def long_text(
    text: str | None,
    *,
    size: int | None = None,
    url: str = "",
    json: bool = False,
    prose: bool = False,
    shown: int = plaintext.SHOWN,
) -> dict[str, Any]:
    """Show foreign text, its start only when it is long; ``url`` has all of it."""
    part = plaintext.excerpt(text, size=size, shown=shown)
    body = plaintext.pretty_json(part.text) if json and part.is_whole else part.text
    return {"body": plaintext.visible(body), "part": part, "url": url, "prose": prose}

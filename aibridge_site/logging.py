"""How log lines look: one line of text for people, or one JSON object for machines.

Both carry the facts that loggers pass in ``extra``, and neither carries a secret.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

_TALKATIVE = ("httpx", "httpcore", "httpx2", "httpcore2", "anthropic", "openai")
_SECRETS = (
    re.compile(r"\b(aib_[0-9a-z]+_)[\w-]{8,}"),
    re.compile(r"\b(sk-[\w-]{2})[\w-]{12,}"),
    re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{12,}"),
)


def configuration(style: str, level: str) -> dict[str, Any]:
    """Return a ``logging.config`` dictionary for Django and gunicorn alike.

    ``style`` is text or json. Everything goes to stderr, so that stdout stays for
    what commands print.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter, "style": style}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            # Both arrive with handlers of their own.
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            "gunicorn.error": {"level": level, "handlers": [], "propagate": True},
            "gunicorn.access": {"level": level, "handlers": [], "propagate": True},
            # They report requests and their bodies at INFO and below.
            **{name: {"level": "WARNING"} for name in _TALKATIVE},
        },
    }


def formatter(style: str) -> logging.Formatter:
    """Return the formatter of a style: text or json."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_process,
    ]
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if style == "json":
        last += [structlog.processors.format_exc_info, _hide_secrets]
        last += [structlog.processors.JSONRenderer(default=str)]
    else:
        last += [structlog.processors.format_exc_info, _hide_secrets, _as_text]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=last
    )


def _add_process(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    event["pid"] = event["_record"].process
    return event


def _hide_secrets(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _hidden(value)
    return event


def _hidden(text: str) -> str:
    for pattern in _SECRETS:
        text = pattern.sub(r"\1…", text)
    return text


def _as_text(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    """Render ``time level logger: event name=value ...`` and then a traceback."""
    head = (
        f"{event.pop('timestamp')} {event.pop('level').upper():7} "
        f"[{event.pop('pid')}] {event.pop('logger')}: {event.pop('event')}"
    )
    trace = event.pop("exception", "")
    facts = "".join(f" {name}={value!r}" for name, value in sorted(event.items()))
    return f"{head}{facts}" + (f"\n{trace}" if trace else "")

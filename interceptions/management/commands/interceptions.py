"""``manage.py interceptions``: read what was recorded."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError
from rest_framework.utils.encoders import JSONEncoder

from interceptions.api.payloads import Payload, interception_payload, utc_text
from interceptions.filters import InterceptionFilter
from interceptions.models import Interception
from providers.management.operator import OperatorCommand, add_format, table

_COLUMNS = (
    "started_at", "initiator", "provider", "model", "client", "outcome",
    "input", "output", "ms", "prompt",
)  # fmt: skip
_SHOWN = 40


class Command(OperatorCommand):
    help = "List recorded interceptions with all that belongs to them, newest first."

    def add_verbs(self, verbs: Any) -> None:
        rows = verbs.add_parser("list", help="list interceptions, newest first")
        rows.add_argument(
            "--limit", type=_limit, default=20, help="at most so many (default: 20)"
        )
        add_format(rows)
        for name, each in InterceptionFilter.base_filters.items():
            says = str(each.extra.get("help_text", "")).replace("%", "%%")
            rows.add_argument(f"--{name.replace('_', '-')}", metavar="X", help=says)
        rows.set_defaults(run=self.list)

    def list(self, options: dict[str, Any]) -> None:
        given = {
            name: options[name]
            for name in InterceptionFilter.base_filters
            if options[name]
        }
        wanted = InterceptionFilter(given, Interception.objects.order_by("-id"))
        if not wanted.is_valid():
            raise CommandError(_said(wanted.problems))
        found = interception_payload(wanted.qs[: options["limit"]])
        if options["format"] == "table":
            self.print(table(_COLUMNS, [_row(payload) for payload in found]))
        elif options["format"] == "json":
            self.print(json.dumps(list(found), indent=2, cls=JSONEncoder))
        else:
            for payload in found:
                self.print(json.dumps(payload, cls=JSONEncoder))


def _limit(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= sys.maxsize:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _said(problems: list[dict[str, str]]) -> str:
    return "; ".join(
        f"--{problem['field'].replace('_', '-')}: {problem['detail']}"
        for problem in problems
    )


def _row(payload: Payload) -> list[Any]:
    prompt = payload["prompts"][0]["prompt"] if payload["prompts"] else ""
    error = payload["error_type"]
    return [
        utc_text(payload["started_at"])[:19],
        payload["initiator"]["username"],
        payload["provider_name"],
        payload["model"],
        payload["client"],
        f"{payload['outcome']}: {error}" if error else payload["outcome"],
        payload["token_usage"]["input_tokens"],
        payload["token_usage"]["output_tokens"],
        payload["duration_ms"],
        prompt[:_SHOWN] + ("…" if len(prompt) > _SHOWN else ""),
    ]

"""Reading JSON bodies that may be hostile: too large, too deep, or not text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from providers.api.errors import TooLarge

MAX_BODY_BYTES = 1024 * 1024


class StrictJSONParser(JSONParser):
    """JSON as RFC 8259 has it, up to ``MAX_BODY_BYTES``, in whole Unicode."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge()
        try:
            parsed = json.loads(body.decode(), parse_constant=_refuse)
            # A lone surrogate is valid JSON, but no text that could be stored.
            json.dumps(parsed, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise ParseError(f"JSON parse error: {error}") from None
        return parsed


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")

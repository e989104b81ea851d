"""Writes what went to upstream and what came back into files, for debugging.

Off unless a provider's switch is on. Headers that authenticate are masked, bodies are
not. A dump that cannot be written is logged and harms no request.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import httpx
from django.conf import settings

from providers.masking import mask
from providers.provider import Provider

logger = logging.getLogger(__name__)

Send = Callable[[httpx.Request], httpx.Response]

REQUEST_SECRETS = frozenset(
    {
        "authorization",
        "x-api-key",
        "api-key",
        "x-auth-token",
        "cookie",
        "proxy-authorization",
        "x-amz-security-token",
        "x-goog-api-key",
    }
)
RESPONSE_SECRETS = frozenset({"set-cookie", "www-authenticate", "proxy-authenticate"})
_QUERY_SECRET = re.compile(r"(?i)([?&](?:key|api[-_]?key|access_token|token)=)([^&]*)")
_SEPARATORS = re.compile(r"[/\\\x00]")
_LONGEST_NAME = 120


def interception_path(provider: Provider, model: str, interception_id: UUID) -> Path:
    """Return the base path of an interception's files; its attempts share it."""
    folder = settings.AIBRIDGE_DUMP_DIR / provider.name / _file_name(model)
    return Path(folder / f"{_now_ms()}-{interception_id}")


def passthrough_path(provider: Provider, upstream_path: str) -> Path:
    """Return the base path of one forwarded request's files."""
    folder = settings.AIBRIDGE_DUMP_DIR / provider.name / "passthrough"
    route = _file_name(upstream_path.lstrip("/"))
    return Path(folder / f"{_now_ms()}-{route}-{secrets.token_hex(2)}")


def _now_ms() -> int:
    return int(time.time() * 1000)


def _file_name(text: str) -> str:
    name = _SEPARATORS.sub("-", text)[:_LONGEST_NAME]
    return name if name.strip(".") else "unknown"


def dumping(send: Send, base: Path) -> Send:
    """Return a ``send`` that also writes ``base`` + .req.txt, .resp.txt or
    .req_error.txt."""

    def send_and_dump(request: httpx.Request) -> httpx.Response:
        _write_request(base, request)
        try:
            response = send(request)
        except Exception as error:
            with _only_logged(), _open(base, ".req_error.txt") as file:
                file.write(f"{error}\n".encode())
            raise
        return _teed(base, response)

    return send_and_dump


def _write_request(base: Path, request: httpx.Request) -> None:
    body = pretty(request.read())
    target = _QUERY_SECRET.sub(_masked_query, request.url.raw_path.decode("ascii"))
    headers = request.headers.multi_items()
    lines = header_lines(headers, REQUEST_SECRETS, {"Content-Length": str(len(body))})
    with _only_logged(), _open(base, ".req.txt") as file:
        file.write(f"{request.method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
        file.write(body + b"\n")


def _masked_query(match: re.Match[str]) -> str:
    return match[1] + mask(match[2])


def pretty(body: bytes) -> bytes:
    """Return JSON indented, with a final newline; anything else unchanged."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(
        "utf-8", "surrogatepass"
    )


def header_lines(
    headers: Iterable[tuple[str, str]],
    secret_names: Iterable[str],
    overrides: Mapping[str, str] | None = None,
) -> str:
    """Return ``Name: value`` lines sorted by name, secrets masked.

    ``overrides`` replace a header's value, or add the header.
    """
    replaced = {name.title(): value for name, value in (overrides or {}).items()}
    pairs = [
        (name.title(), mask(value) if name.lower() in secret_names else value)
        for name, value in headers
        if name.title() not in replaced
    ]
    ordered = sorted([*pairs, *replaced.items()], key=lambda pair: pair[0])
    return "".join(f"{name}: {value}\r\n" for name, value in ordered)


def _teed(base: Path, response: httpx.Response) -> httpx.Response:
    try:
        file = _open(base, ".resp.txt")
        status = f"HTTP/1.1 {response.status_code} {response.reason_phrase}".rstrip()
        lines = header_lines(response.headers.multi_items(), RESPONSE_SECRETS)
        file.write(f"{status}\r\n{lines}\r\n".encode())
    except OSError as error:
        _log(error)
        return response
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        stream=_TeedStream(response, file),
        extensions=response.extensions,
    )


class _TeedStream(httpx.SyncByteStream):
    """A response's bytes, written to a file as they pass."""

    def __init__(self, response: httpx.Response, file: IO[bytes]) -> None:
        self._response = response
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        stream: Any = self._response.stream
        for chunk in stream:
            with _only_logged():
                self._file.write(chunk)
            yield chunk

    def close(self) -> None:
        with _only_logged():
            self._file.close()
        self._response.close()


def _open(base: Path, suffix: str) -> IO[bytes]:
    base.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = base.with_name(base.name + suffix)
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))


@contextmanager
def _only_logged() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        _log(error)


def _log(error: Exception) -> None:
    logger.warning("API dump failed", extra={"reason": type(error).__name__})

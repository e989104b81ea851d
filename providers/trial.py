"""Asks an upstream, at no cost, whether it accepts a key.

One GET of the kind's model list with a plain HTTP client; knows no pool and no row but
the provider's.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

import certifi
import httpx
from django.core.exceptions import ValidationError

from providers.kinds import KindSpec, spec_of
from providers.masking import scrub
from providers.models import AiProvider
from providers.validators import forbidden_address, validate_base_url

_SILENCE = 10.0
_BODY_LIMIT = 8192
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class KeyTest:
    """What came of it: ``status`` is upstream's, None when it did not answer.

    ``message`` is for people and holds no secret; ``ms`` is the time it took.
    """

    ok: bool
    status: int | None
    message: str
    ms: int


def try_key(provider: AiProvider, secret: str) -> KeyTest:
    """Return whether upstream accepts the secret; never raises for what upstream does.

    Blocks; a silence of 10 seconds ends it. Redirects are not followed.
    """
    started = time.perf_counter()
    try:
        status, body = _ask(provider, secret)
    except ValidationError as error:
        return KeyTest(False, None, " ".join(error.messages), _since(started))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        message = scrub(f"Upstream did not answer: {error}", [secret])
        return KeyTest(False, None, message, _since(started))
    accepted = 200 <= status < 300
    message = "The key works." if accepted else _refusal(status, body, secret)
    return KeyTest(accepted, status, message, _since(started))


def _ask(provider: AiProvider, secret: str) -> tuple[int, bytes]:
    """Return the status and the beginning of the body."""
    spec = spec_of(provider.kind)
    base_url = (provider.base_url or spec.default_base_url).rstrip("/")
    if not base_url or not spec.has_pool:
        raise ValidationError("This provider has no keys that could be tested.")
    validate_base_url(base_url)
    url = httpx.URL(base_url + spec.models_path)
    headers = _headers(spec, secret) | {"Host": url.netloc.decode()}
    addresses = _addresses(url)
    with httpx.Client(verify=_trust(), trust_env=False, timeout=_SILENCE) as client:
        for address in addresses[:-1]:
            try:
                return _get(client, url, address, headers)
            except httpx.ConnectError:
                continue
        return _get(client, url, addresses[-1], headers)


def _get(
    client: httpx.Client, url: httpx.URL, address: str, headers: dict[str, str]
) -> tuple[int, bytes]:
    # The address that was checked is the one that gets the key.
    pinned = url.copy_with(host=address)
    names = {"sni_hostname": url.host}
    with client.stream("GET", pinned, headers=headers, extensions=names) as response:
        return response.status_code, _beginning(response)


def _beginning(response: httpx.Response) -> bytes:
    found = b""
    for chunk in response.iter_raw():
        found += chunk
        if len(found) >= _BODY_LIMIT:
            break
    return found[:_BODY_LIMIT]


def _addresses(url: httpx.URL) -> list[str]:
    """Return the host's addresses; raises ValidationError when one is forbidden."""
    port = url.port or _PORTS[url.scheme]
    found = socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    for address in addresses:
        if (reason := forbidden_address(ipaddress.ip_address(address))) is not None:
            raise ValidationError(reason)
    return addresses


def _headers(spec: KindSpec, secret: str) -> dict[str, str]:
    value = f"{spec.auth_scheme} {secret}" if spec.auth_scheme else secret
    return {
        "Accept-Encoding": "identity",
        "User-Agent": "aibridge",
        spec.auth_header: value,
        **dict(spec.test_headers),
    }


def _trust() -> ssl.SSLContext:
    """Return a verifying context: SSL_CERT_FILE, else the system's, else certifi's."""
    paths = ssl.get_default_verify_paths()
    has_system_cas = paths.cafile or (paths.capath and os.listdir(paths.capath))
    return ssl.create_default_context(
        cafile=None if has_system_cas else certifi.where()
    )


def _refusal(status: int, body: bytes, secret: str) -> str:
    said = scrub(_message(body), [secret])[:200].strip()
    said = f" It said: {said}" if said else ""
    if status in {401, 403}:
        return f"Upstream refused the key ({status}).{said}"
    return f"Upstream answered {status}.{said}"


def _message(body: bytes) -> str:
    """Return the message of an error body, "" when it has none."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    parsed = parsed[0] if isinstance(parsed, list) and parsed else parsed
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""


def _since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)

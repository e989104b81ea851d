"""What a provider's name and base URL may be."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

RESERVED_NAMES = frozenset(
    {"sessions", "models", "clients", "keys", "serve", "proxy", "providers", "tokens"}
)
"""Words of the management API, kept free so that no provider can shadow one."""


def validate_provider_name(name: str) -> None:
    """Raise ValidationError unless the name can be a segment of a URL."""
    if not _NAME.fullmatch(name):
        raise ValidationError(
            f'invalid provider name "{name}": must contain only lowercase '
            "alphanumeric characters and hyphens"
        )
    if name in RESERVED_NAMES:
        raise ValidationError(f'"{name}" is a reserved word; choose another name.')


def validate_base_url(url: str) -> None:
    """Raise ValidationError unless requests with a key may be sent there."""
    if not url:
        return
    validate_http_url(url)
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValidationError("The base URL must not contain ? or #.")


def validate_http_url(url: str) -> None:
    """Raise ValidationError unless it is a URL that the gateway may call."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise ValidationError("The base URL is not a valid URL.") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ValidationError("The base URL must start with http:// or https://.")
    if parts.username or parts.password:
        raise ValidationError("The base URL must not contain a user or password.")
    if (reason := forbidden_host(host)) is not None:
        raise ValidationError(reason)


def forbidden_host(host: str) -> str | None:
    """Return why a literal address or well-known name may not be called, or None."""
    if host.rstrip(".").lower() == "metadata.google.internal":
        return "The base URL points at a cloud metadata service."
    name = "127.0.0.1" if host.lower() == "localhost" else host
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return forbidden_address(address)


def forbidden_address(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> str | None:
    """Return why an address may not be called, or None.

    Link-local (cloud metadata) addresses never may. Private ones may when
    ``AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS`` says so, loopback also in DEBUG.
    """
    if isinstance(address, ipaddress.IPv6Address):
        address = _embedded(address) or address
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return "The base URL points at a link-local or metadata address."
    if settings.AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS:
        return None
    if address.is_loopback and settings.AIBRIDGE_ALLOW_LOOPBACK_UPSTREAMS:
        return None
    if not address.is_global:
        return (
            "The base URL points at a private address; set "
            "AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS=True to allow that."
        )
    return None


def refuse_forbidden_ip(ip: str) -> None:
    """Raise ValueError when a resolved address may not be called."""
    if (reason := forbidden_address(ipaddress.ip_address(ip))) is not None:
        raise ValueError(reason)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 one is a way to, or None."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour

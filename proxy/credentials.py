"""What authenticates one call to upstream: a pool of keys, or the caller's own key.

A credential offers keys in order and turns one into headers; it decides nothing about
failover and knows no socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from providers.keypool import Key
from providers.kinds import Kind
from providers.masking import mask
from providers.registry import Provider
from proxy import bedrock, errors

CENTRALIZED = "centralized"
BYOK = "byok"


class Credential(Protocol):
    """How a call is authenticated.

    ``kind`` is centralized or byok. ``hint`` names the secret without revealing it;
    it is "" while the pool has not chosen a key. ``secret`` is the caller's own key,
    which no text may repeat; a pool's keys are known to the registry.
    """

    kind: str
    hint: str
    secret: str

    def walk(self) -> Iterator[Key | None]:
        """Yield what to try, in order; raises KeyPoolExhausted at a pool's end."""

    def headers(
        self, key: Key | None, method: str, url: str, body: bytes
    ) -> list[tuple[str, str]]:
        """Return the headers that authenticate this very request."""


class PooledCredential:
    """The provider's own keys, each tried until upstream accepts one."""

    kind = CENTRALIZED
    secret = ""

    def __init__(self, provider: Provider) -> None:
        if provider.pool is None:
            raise errors.ProviderUnavailable(
                f'AI provider "{provider.name}" has no key in service'
            )
        self._pool = provider.pool
        self._spec = provider.spec
        self.hint = ""

    def walk(self) -> Iterator[Key]:
        for key in self._pool.walk():
            self.hint = key.hint
            yield key

    def headers(
        self, key: Key | None, method: str, url: str, body: bytes
    ) -> list[tuple[str, str]]:
        value = key.value if key else ""
        scheme = self._spec.auth_scheme
        return [(self._spec.auth_header, f"{scheme} {value}" if scheme else value)]


class ByokCredential:
    """The caller's own key: one attempt, whose failure is the caller's."""

    kind = BYOK

    def __init__(self, header: str, value: str) -> None:
        self._header = header
        self._value = value
        self.secret = value.split(None, 1)[-1] if value else ""
        self.hint = mask(self.secret)

    def walk(self) -> Iterator[None]:
        yield None

    def headers(
        self, key: Key | None, method: str, url: str, body: bytes
    ) -> list[tuple[str, str]]:
        return [(self._header, self._value)]


def resolve(
    provider: Provider, headers: Mapping[str, str], *, byok: bool, byok_allowed: bool
) -> Credential:
    """Choose what authenticates a request (decisions D2).

    ``headers`` are the client's, lower-case. Raises Forbidden when BYOK is not
    allowed and Unauthorized when the caller's own key is missing.
    """
    if provider.kind == Kind.BEDROCK:
        return bedrock.SigV4Credential(bedrock.settings_of(provider))
    if not byok and provider.spec.has_pool:
        return PooledCredential(provider)
    if byok and not (provider.allow_byok and byok_allowed):
        raise errors.Forbidden(
            f'AI provider "{provider.name}" does not accept your own key'
        )
    if byok and (own := _own_key(provider, headers)) is not None:
        return own
    return _without_own_key(provider, byok=byok)


def _own_key(provider: Provider, headers: Mapping[str, str]) -> ByokCredential | None:
    for name in provider.spec.byok_headers:
        value = headers.get(name, "").strip()
        if not value:
            continue
        if name == "authorization" and len(value.split()) != 2:
            continue
        return ByokCredential(name.title(), value)
    return None


def _without_own_key(provider: Provider, *, byok: bool) -> Credential:
    if not provider.spec.has_pool:
        raise errors.Unauthorized(
            f'AI provider "{provider.name}" needs your own key in Authorization and '
            "the gateway token in X-AIBridge-Token"
        )
    # The token came in its own header but no key did: the pool answers.
    return PooledCredential(provider)

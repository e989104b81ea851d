"""The resolver: literal addresses, one question at a time, and the guard."""

from __future__ import annotations

import socket
from typing import Any

import gevent
import httpx
import pytest

from proxy.dialling import Resolver


class Names:
    """A name service in place of the machine's; remembers what it was asked."""

    def __init__(self, addresses: dict[str, list[str]]) -> None:
        self.asked: list[str] = []
        self._addresses = addresses

    def getaddrinfo(self, host: str, port: int, *rest: Any) -> list[Any]:
        self.asked.append(host)
        gevent.sleep(0.01)
        if host not in self._addresses:
            raise socket.gaierror(-2, "Name or service not known")
        found = self._addresses[host]
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in found]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names({"api.example": ["192.0.2.1", "192.0.2.2"]})
    monkeypatch.setattr("gevent.socket.getaddrinfo", names.getaddrinfo)
    return names


def ips(resolver: Resolver, host: str) -> list[str]:
    return [address.ip for address in resolver.resolve(host, 443)]


@pytest.mark.parametrize("literal", ["192.0.2.7", "2001:db8::7"])
def test_literal_addresses_need_no_question(names, literal):
    assert ips(Resolver(), literal) == [literal]
    assert names.asked == []


def test_a_name_is_asked_for_once_however_many_want_it(names):
    resolver = Resolver()
    callers = [gevent.spawn(ips, resolver, "api.example") for _ in range(50)]
    gevent.joinall(callers, raise_error=True)
    assert {tuple(c.value) for c in callers} == {("192.0.2.1", "192.0.2.2")}
    assert ips(resolver, "api.example") == ["192.0.2.1", "192.0.2.2"]
    assert names.asked == ["api.example"]


def test_a_failure_is_shared_too(names):
    resolver = Resolver()

    def ask() -> str:
        with pytest.raises(httpx.ConnectError) as caught:
            resolver.resolve("gone.example", 443)
        return str(caught.value)

    callers = [gevent.spawn(ask) for _ in range(20)]
    gevent.joinall(callers, raise_error=True)
    assert "DNS: gone.example cannot be resolved" in callers[0].value
    assert names.asked == ["gone.example"]


def test_a_name_with_one_forbidden_address_is_refused(names):
    def guard(ip: str) -> None:
        if ip == "192.0.2.2":
            raise ValueError("this one is forbidden")

    with pytest.raises(httpx.ConnectError, match="api.example: this one is forbidden"):
        Resolver(guard).resolve("api.example", 443)


def test_the_guard_is_asked_again_about_remembered_addresses(names):
    seen: list[str] = []
    resolver = Resolver(seen.append)
    ips(resolver, "api.example")
    ips(resolver, "api.example")
    assert seen == ["192.0.2.1", "192.0.2.2"] * 2
    assert names.asked == ["api.example"]


def test_a_name_that_is_no_name_is_an_error():
    with pytest.raises(httpx.ConnectError, match="DNS"):
        Resolver().resolve("a" * 300, 443)

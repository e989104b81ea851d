"""What a client sent, as it travels from the door to upstream."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.actors import Actor
from proxy.watch import ClientWatch


@dataclass(slots=True)
class Call:
    """What a client sent.

    ``route`` is decoded, ``raw_route`` as the client escaped it; ``lower`` maps
    lower-case header names to values; ``peer`` is the address that connected and
    ``scheme`` how, as the server tells.
    """

    method: str
    route: str
    raw_route: str
    query: str
    headers: list[tuple[str, str]]
    lower: dict[str, str]
    body: bytes
    actor: Actor
    byok: bool
    watch: ClientWatch
    peer: str = ""
    scheme: str = "http"

"""Hints that stand for a secret, and scrubbing secrets out of text."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN = ((20, 4), (10, 2), (5, 1))
"""From which length on how many characters show at each end."""


def mask(secret: str) -> str:
    """Return a fragment by which a person recognises a secret, never the secret."""
    if not secret:
        return ""
    shown = next((count for least, count in _SHOWN if len(secret) >= least), 0)
    return f"{secret[:shown]}...{secret[-shown:]}" if shown else "..."


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Replace each secret that occurs in the text by its hint."""
    for secret in secrets:
        if secret and secret in text:
            text = text.replace(secret, mask(secret))
    return text

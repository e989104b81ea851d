"""Hints that stand for a secret, and scrubbing secrets out of text."""

from __future__ import annotations

from collections.abc import Iterable


def mask(secret: str) -> str:
    """Return a fragment by which a person recognises a secret, never the secret.

    Shows 4, 2, 1 or 0 characters at each end for lengths from 20, 10, 5 and below.
    """
    if not secret:
        return ""
    shown = next((n for least, n in ((20, 4), (10, 2), (5, 1)) if len(secret) >= least), 0)
    return f"{secret[:shown]}...{secret[-shown:]}" if shown else "..."


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Replace each secret that occurs in the text by its hint."""
    for secret in secrets:
        if secret and secret in text:
            text = text.replace(secret, mask(secret))
    return text

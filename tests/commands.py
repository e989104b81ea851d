"""Run management commands in tests as an operator would."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager

from django.core.management import call_command


def run(*words: str, stdin: str = "") -> str:
    """Return what the command printed on stdout; raises CommandError."""
    out = io.StringIO()
    with _stdin(stdin):
        call_command(*words, stdout=out)
    return out.getvalue().removesuffix("\n")


@contextmanager
def _stdin(text: str):
    before, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        yield
    finally:
        sys.stdin = before

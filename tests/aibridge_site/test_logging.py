"""Log lines: readable, with their facts, and without secrets."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Callable

import pytest

from aibridge_site.logging import configuration, formatter

SECRETS = (
    "aib_0a1b2c3d_Vn3kZ1x0pQ9rS8tU7vW6yX5",
    "sk-ant-api03-0123456789abcdefghij",
    "sk-proj-0123456789abcdefghij",
    "Bearer eyJhbGciOiJIUzI1NiJ9.payload.sig",
)


@pytest.fixture(params=["text", "json"])
def write(request) -> Callable[..., str]:
    """Return a function that logs and returns what was written."""

    def write(message: str, *args: object, level: int = logging.INFO, **kw) -> str:
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(formatter(request.param))
        logger = logging.Logger("proxy.failover")
        logger.addHandler(handler)
        logger.log(level, message, *args, **kw)
        return out.getvalue()

    return write


def test_line_tells_level_logger_event_and_facts(write):
    line = write("key cooling", level=logging.WARNING, extra={"provider": "claude"})
    assert line.count("\n") == 1
    for part in ("warning", "proxy.failover", "key cooling", "provider", "claude"):
        assert part in line.lower()


def test_json_line_is_one_object_even_with_a_traceback():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter("json"))
    logger = logging.Logger("x")
    logger.addHandler(handler)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logger.exception("went wrong", extra={"when": object()})
    entry = json.loads(out.getvalue())
    assert entry["event"] == "went wrong"
    assert entry["level"] == "error"
    assert "ValueError: first\nsecond" in entry["exception"]


@pytest.mark.parametrize("secret", SECRETS)
def test_secret_in_message_argument_fact_or_traceback_is_hidden(write, secret):
    try:
        raise ValueError(f"refused {secret}")
    except ValueError:
        text = write("sent %s", secret, exc_info=True, extra={"header": secret})
    assert "ValueError" in text
    assert secret not in text
    assert secret[-12:] not in text


def test_same_configuration_serves_django_and_gunicorn(capsys):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logging.config.dictConfig(configuration("json", "INFO"))
        logging.getLogger("gunicorn.error").info("listening")
        logging.getLogger("django.request").warning("not found")
        logging.getLogger("httpx2").info("chatter")
        written = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        root.handlers, root.level = handlers, level
    assert [entry["event"] for entry in written] == ["listening", "not found"]

"""What an API dump holds, and what it never shows (reference table 30.22)."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from providers.kinds import KINDS, Kind
from providers.provider import Provider
from proxy.dump import (
    REQUEST_SECRETS,
    RESPONSE_SECRETS,
    dumping,
    header_lines,
    interception_path,
    passthrough_path,
    pretty,
)

PROVIDER = Provider(uuid4(), "copilot-business", Kind.COPILOT, KINDS[Kind.COPILOT])
ID = UUID("0190d5b0-0000-7000-8000-000000000001")


def lines(*headers: tuple[str, str], secrets=(), overrides=None) -> str:
    return header_lines(headers, secrets, overrides)


# Headers


def test_no_headers():
    assert lines() == ""


def test_one_header():
    assert lines(("Content-Type", "x")) == "Content-Type: x\r\n"


def test_headers_are_sorted():
    assert lines(("Zebra", "z"), ("Alpha", "a")) == "Alpha: a\r\nZebra: z\r\n"


def test_length_is_replaced():
    told = lines(("content-length", "100"), overrides={"Content-Length": "200"})
    assert told == "Content-Length: 200\r\n"


def test_override_adds_a_header():
    assert lines(overrides={"Content-Length": "5"}) == "Content-Length: 5\r\n"


def test_each_value_has_its_line():
    told = lines(("Accept", "a"), ("Accept", "b"))
    assert told == "Accept: a\r\nAccept: b\r\n"


@pytest.mark.parametrize(
    ("name", "value", "shown", "secrets"),
    [
        ("Set-Cookie", "session=abcdefghij", "se...ij", RESPONSE_SECRETS),
        (
            "Authorization",
            "Bearer sk-secret-key-12345",
            "Bear...2345",
            REQUEST_SECRETS,
        ),
        ("X-Api-Key", "secret-api-key-value", "secr...alue", REQUEST_SECRETS),
        ("Cookie", "session=abc123", "se...23", REQUEST_SECRETS),
        (
            "Set-Cookie",
            "session=secret123; HttpOnly; Secure",
            "sess...cure",
            RESPONSE_SECRETS,
        ),
        ("WWW-Authenticate", 'Bearer realm="api"', 'Be...i"', RESPONSE_SECRETS),
    ],
)
def test_secrets_are_masked(name: str, value: str, shown: str, secrets):
    assert lines((name, value), secrets=secrets) == f"{name.title()}: {shown}\r\n"


# Bodies


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        (b"", b""),
        (b'{"key":"value"}', b'{\n  "key": "value"\n}\n'),
        (b'{"b":1.0,"a":[]}', b'{\n  "b": 1.0,\n  "a": []\n}\n'),
        (b"not json", b"not json"),
        (b"test", b"test"),
        (b"f", b"f"),
    ],
)
def test_json_is_printed_readably(body: bytes, printed: bytes):
    assert pretty(body) == printed


# Paths


def test_interception_has_its_own_path(settings, tmp_path: Path):
    settings.AIBRIDGE_DUMP_DIR = tmp_path
    path = interception_path(PROVIDER, "gemini/1.5-pro", ID)
    assert path.parent == tmp_path / "copilot-business" / "gemini-1.5-pro"
    assert re.fullmatch(rf"\d{{13}}-{ID}", path.name)


@pytest.mark.parametrize("model", ["..", "../../etc", "", "/", "a\\..\\b", "x" * 500])
def test_no_model_leads_out_of_the_directory(settings, tmp_path: Path, model: str):
    settings.AIBRIDGE_DUMP_DIR = tmp_path
    path = interception_path(PROVIDER, model, ID)
    assert path.resolve().parent.parent == tmp_path / "copilot-business"
    assert len(path.parent.name) <= 120


def test_passthrough_is_named_by_its_path(settings, tmp_path: Path):
    settings.AIBRIDGE_DUMP_DIR = tmp_path
    path = passthrough_path(PROVIDER, "/v1/models")
    assert path.parent == tmp_path / "copilot-business" / "passthrough"
    assert re.fullmatch(r"\d{13}-v1-models-[0-9a-f]{4}", path.name)


# Files

REQUEST = httpx.Request(
    "POST",
    "https://h/v1/messages?beta=true&key=secret-value-in-query",
    headers={"X-Api-Key": "secret-api-key-value", "User-Agent": "me"},
    content=b'{"key":"value"}',
)


class Closing(httpx.SyncByteStream):
    """A stream that remembers being closed."""

    closed = False

    def __iter__(self):
        yield b'{"id":'
        yield b""
        yield b'"msg_1"}'

    def close(self) -> None:
        self.closed = True


def answered(stream: httpx.SyncByteStream):
    headers = {"content-type": "application/json", "set-cookie": "session=secret123"}
    return lambda request: httpx.Response(
        200, headers=headers, stream=stream, extensions={"abort": print}
    )


def test_request_and_response_are_written(tmp_path: Path):
    base = tmp_path / "provider" / "model" / "1-id"
    stream = Closing()
    response = dumping(answered(stream), base)(REQUEST)
    assert list(response.stream) == [b'{"id":', b"", b'"msg_1"}']
    assert response.extensions["abort"] is print
    response.close()
    assert stream.closed
    assert base.with_name("1-id.req.txt").read_bytes() == (
        b"POST /v1/messages?beta=true&key=secr...uery HTTP/1.1\r\n"
        b"Content-Length: 21\r\n"
        b"Host: h\r\n"
        b"User-Agent: me\r\n"
        b"X-Api-Key: secr...alue\r\n"
        b"\r\n"
        b'{\n  "key": "value"\n}\n\n'
    )
    assert base.with_name("1-id.resp.txt").read_bytes() == (
        b"HTTP/1.1 200 OK\r\n"
        b"Content-Type: application/json\r\n"
        b"Set-Cookie: se...23\r\n"
        b"\r\n"
        b'{"id":"msg_1"}'
    )


def test_files_are_private(tmp_path: Path):
    base = tmp_path / "provider" / "1-id"
    dumping(answered(Closing()), base)(REQUEST).close()
    for path in base.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_error_is_written(tmp_path: Path):
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody listens")

    with pytest.raises(httpx.ConnectError):
        dumping(refuse, tmp_path / "1-id")(REQUEST)
    assert (tmp_path / "1-id.req_error.txt").read_text() == "nobody listens\n"


def test_later_attempts_overwrite(tmp_path: Path):
    for _ in range(2):
        dumping(answered(Closing()), tmp_path / "1-id")(REQUEST).close()
    assert len(list(tmp_path.iterdir())) == 2


def test_dump_that_cannot_be_written_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    response = dumping(answered(Closing()), in_the_way / "1-id")(REQUEST)
    assert b"".join(response.stream) == b'{"id":"msg_1"}'
    assert "API dump failed" in caplog.text

"""Settings: what is wrong is named in one line, and what is secret is not told."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from django.core.exceptions import ImproperlyConfigured

from providers.seeds import _PARTS, _WELL_KNOWN
from tests.postgres import free_port

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ROOT / "aibridge_site" / "settings.py"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that reads the settings anew under an environment."""
    for name in list(os.environ):
        if name.startswith("AIBRIDGE_") or name in {"DEBUG", "DATABASE_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AIBRIDGE_DATA_DIR", str(tmp_path / "data"))

    def load(**environment: str) -> ModuleType:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location("settings_again", SETTINGS)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_no_setting_is_needed(load, tmp_path: Path):
    settings = load()
    assert settings.DEBUG is False
    assert settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
    assert Path(settings.DATABASES["default"]["NAME"]).parent == tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "true"),
        ("AIBRIDGE_PORT", "0"),
        ("AIBRIDGE_PORT", "65536"),
        ("AIBRIDGE_PORT", "80x"),
        ("AIBRIDGE_WORKERS", "1.5"),
        ("AIBRIDGE_WORKERS", "-1"),
        ("AIBRIDGE_HEARTBEAT_SECONDS", "nan"),
        ("AIBRIDGE_HEARTBEAT_SECONDS", "inf"),
        ("AIBRIDGE_PUBLIC_URL", "aibridge.example"),
        ("AIBRIDGE_PUBLIC_URL", "https://aibridge.example/path"),
        ("AIBRIDGE_LOG_LEVEL", "loud"),
        ("AIBRIDGE_LOG_FORMAT", "xml"),
        ("AIBRIDGE_ENCRYPTION_KEYS", "not-a-key"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "mysql://user:hunter2@host/name"),
        ("DATABASE_URL", "postgres://user:hunter2@host:port/name"),
        ("DATABASE_URL", "sqlite:///"),
        ("SECRET_KEY_FILE", "/nowhere/at/all"),
    ],
)
def test_wrong_value_is_refused_with_its_name_and_without_secrets(load, name, value):
    with pytest.raises(ImproperlyConfigured, match=name.removesuffix("_FILE")) as said:
        load(**{name: value})
    assert "\n" not in str(said.value)
    assert "hunter2" not in str(said.value)
    assert "not-a-key" not in str(said.value)


def test_data_directory_that_cannot_be_written_is_named(load, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImproperlyConfigured, match="AIBRIDGE_DATA_DIR"):
        load(AIBRIDGE_DATA_DIR=str(tmp_path / "file"))


def test_value_may_stand_in_a_file(load, tmp_path: Path):
    (tmp_path / "secret").write_text("$from a file\n")
    assert load(SECRET_KEY_FILE=str(tmp_path / "secret")).SECRET_KEY == "$from a file"


def test_secrets_are_generated_once_and_kept_private(load, tmp_path: Path):
    first, second = load(), load()
    assert first.SECRET_KEY == second.SECRET_KEY != ""
    assert first.AIBRIDGE_ENCRYPTION_KEYS == second.AIBRIDGE_ENCRYPTION_KEYS
    kept = sorted((tmp_path / "data").iterdir())
    assert [file.name for file in kept] == ["encryption.keys", "secret.key"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in kept} == {0o600}


def test_address_of_every_interface_is_shown_as_one_that_works(load):
    settings = load(AIBRIDGE_HOST="0.0.0.0", AIBRIDGE_PORT="81")
    assert settings.AIBRIDGE_PUBLIC_URL == "http://127.0.0.1:81"


def test_public_address_is_allowed_and_decides_about_secure_cookies(load):
    settings = load(AIBRIDGE_PUBLIC_URL="https://ai.example:8443/")
    assert settings.AIBRIDGE_PUBLIC_URL == "https://ai.example:8443"
    assert "ai.example" in settings.ALLOWED_HOSTS
    assert settings.CSRF_TRUSTED_ORIGINS == ["https://ai.example:8443"]
    assert settings.SESSION_COOKIE_SECURE is True


def test_postgres_gets_a_pool_only_where_asked_for(load):
    url = "postgres://user:hunter2@db.example:5433/name"
    database = load(DATABASE_URL=url).DATABASES["default"]
    assert (database["HOST"], database["PORT"]) == ("db.example", 5433)
    assert "pool" not in database["OPTIONS"]
    pooled = load(DATABASE_URL=url, AIBRIDGE_DATABASE_POOL="True").DATABASES["default"]
    assert pooled["OPTIONS"]["pool"]["max_size"] == 20
    assert pooled["CONN_MAX_AGE"] == 0


@pytest.mark.parametrize(
    "command",
    [
        ["manage.py", "check"],
        ["-m", "gunicorn", "-c", "gunicorn.conf.py"],
        ["-m", "aibridge_site.run"],
    ],
    ids=["manage.py", "gunicorn", "make run"],
)
@pytest.mark.parametrize(
    ("name", "value"), [("DEBUG", "yes"), ("AIBRIDGE_ENCRYPTION_KEYS", "nonsense")]
)
def test_wrong_setting_stops_every_start_with_one_line(
    command: list[str], name: str, value: str, tmp_path: Path
):
    done = _start(command, tmp_path, **{name: value})
    assert done.returncode == 1
    assert re.fullmatch(rf"AI Bridge cannot start: {name}.*\n", done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIBRIDGE_PROVIDER_1_KIND", "nonsense"),
        ("AIBRIDGE_PROVIDER_1_URL", "https://x.example"),
        ("AIBRIDGE_HOST", "no-such-host.invalid"),
    ],
)
def test_what_only_a_run_reads_stops_the_run_with_one_line(name, value, tmp_path: Path):
    done = _start(["-m", "aibridge_site.run"], tmp_path, **{name: value})
    assert done.returncode == 1
    assert re.fullmatch(rf"AI Bridge cannot start: {name}.*\n", done.stderr)


def _start(command: list[str], data: Path, **environment: str):
    settings = {
        "PATH": os.environ["PATH"],
        "AIBRIDGE_DATA_DIR": str(data),
        "AIBRIDGE_STATIC_ROOT": str(data / "static"),
        "AIBRIDGE_PORT": str(free_port()),
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=settings | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_setting_is_documented_and_no_other():
    documented = set(
        re.findall(r"^\| `([A-Z_<>]+)`", _text("docs/settings.md"), re.MULTILINE)
    )
    assert documented == {
        *_names_read(SETTINGS),
        *(f"AIBRIDGE_PROVIDER_<N>_{part}" for part in _PARTS),
        *_WELL_KNOWN,
        *("AIBRIDGE_TOKEN", "PROMETHEUS_MULTIPROC_DIR"),
    }


def _text(name: str) -> str:
    return (ROOT / name).read_text()


def _names_read(path: Path) -> set[str]:
    """Return the settings whose names stand as first argument of a reader."""
    readers = {
        "_value",
        "_kept_secret",
        "env_bool",
        "env_int",
        "env_number",
        "env_list",
    }
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in readers
        and isinstance(node.args[0], ast.Constant)
    }

"""Every setting of AI Bridge, read from the environment.

``NAME_FILE`` may name a file that holds the value of ``NAME``. A wrong value stops the
start with a message that names the setting. docs/settings.md lists them all.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

from aibridge_site import theme
from aibridge_site.logging import configuration
from aibridge_site.rest import REST_FRAMEWORK, SPECTACULAR_SETTINGS  # noqa: F401

BASE_DIR = Path(__file__).resolve().parent.parent

_environment = FileAwareMapping()


def _value(name: str, cast: type, default: Any) -> Any:
    """Return the setting; raises ImproperlyConfigured naming it when it is wrong."""
    try:
        return cast(_environment.get(name, default).strip())
    except (ValueError, OSError) as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None


def env_bool(name: str, *, default: bool) -> bool:
    value = _value(name, str, str(default))
    if value not in {"True", "False"}:
        raise ImproperlyConfigured(f"{name}={value!r}: use True or False")
    return value == "True"


def env_number(name: str, *, default: float, least: float = 0) -> float:
    value = _value(name, str, str(default))
    try:
        number = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r}: use a number") from None
    if not least <= number < float("inf"):
        raise ImproperlyConfigured(f"{name}={value!r}: use a number from {least:g}")
    return number


def env_int(
    name: str, *, default: int, least: int = 0, most: float = float("inf")
) -> int:
    number = env_number(name, default=default, least=least)
    if number > most:
        raise ImproperlyConfigured(f"{name}={number:g}: use a number up to {most:g}")
    if number != int(number):
        raise ImproperlyConfigured(f"{name}={number!r}: use a whole number")
    return int(number)


def env_list(name: str, *, default: str = "") -> list[str]:
    return [
        item.strip() for item in _value(name, str, default).split(",") if item.strip()
    ]


def _kept_secret(name: str, file: str, generate: Callable[[], str]) -> str:
    """Return the setting, or what was generated once and is kept in a file."""
    if value := _value(name, str, ""):
        return value
    path = AIBRIDGE_DATA_DIR / file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_once(path, generate())
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name} is not set and AIBRIDGE_DATA_DIR={str(path.parent)!r} "
            f"cannot hold a generated one: {error.strerror}"
        ) from None


def _write_once(path: Path, text: str) -> None:
    """Write a private file as a whole, unless another process was faster."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    with suppress(FileExistsError):
        os.link(temporary, path)
    os.unlink(temporary)


# Where things are
AIBRIDGE_DATA_DIR = Path(
    _value("AIBRIDGE_DATA_DIR", str, str(BASE_DIR / "var"))
).resolve()
AIBRIDGE_HOST = _value("AIBRIDGE_HOST", str, "127.0.0.1")
AIBRIDGE_PORT = env_int("AIBRIDGE_PORT", default=8000, least=1, most=65535)
# Every address of this machine includes the one that is shown to people.
_shown_host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(AIBRIDGE_HOST, AIBRIDGE_HOST)
AIBRIDGE_PUBLIC_URL = _value(
    "AIBRIDGE_PUBLIC_URL", str, f"http://{_shown_host}:{AIBRIDGE_PORT}"
).rstrip("/")
if not re.fullmatch(r"https?://[^/?#\s]+", AIBRIDGE_PUBLIC_URL):
    raise ImproperlyConfigured(
        f"AIBRIDGE_PUBLIC_URL={AIBRIDGE_PUBLIC_URL!r}: use http(s)://host or host:port"
    )

# The server (gunicorn.conf.py)
AIBRIDGE_WORKERS = env_int("AIBRIDGE_WORKERS", default=2, least=1)
AIBRIDGE_GRACEFUL_SECONDS = env_int("AIBRIDGE_GRACEFUL_SECONDS", default=30, least=1)
AIBRIDGE_METRICS_TOKEN = _value("AIBRIDGE_METRICS_TOKEN", str, "")

# Security
DEBUG = env_bool("DEBUG", default=False)
SECRET_KEY = _kept_secret("SECRET_KEY", "secret.key", lambda: secrets.token_urlsafe(50))
AIBRIDGE_ENCRYPTION_KEYS = [
    key.strip()
    for key in _kept_secret(
        "AIBRIDGE_ENCRYPTION_KEYS",
        "encryption.keys",
        lambda: Fernet.generate_key().decode(),
    ).split(",")
    if key.strip()
]
for _key in AIBRIDGE_ENCRYPTION_KEYS:
    try:
        Fernet(_key)
    except ValueError:
        raise ImproperlyConfigured(
            "AIBRIDGE_ENCRYPTION_KEYS holds a value that is not a Fernet key"
        ) from None
ALLOWED_HOSTS = env_list(
    "ALLOWED_HOSTS",
    default=f"localhost,127.0.0.1,[::1],{urlsplit(AIBRIDGE_PUBLIC_URL).hostname}",
)
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS", default=AIBRIDGE_PUBLIC_URL)
AIBRIDGE_HTTPS = env_bool(
    "AIBRIDGE_HTTPS", default=AIBRIDGE_PUBLIC_URL.startswith("https://")
)
AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS = env_bool(
    "AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS", default=False
)
AIBRIDGE_ALLOW_LOOPBACK_UPSTREAMS = env_bool(
    "AIBRIDGE_ALLOW_LOOPBACK_UPSTREAMS", default=DEBUG
)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = AIBRIDGE_HTTPS
# Whoever ends TLS in front of the gateway redirects to it, and alone knows whether
# that holds for the whole domain.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https")
    if env_bool("AIBRIDGE_BEHIND_TLS_PROXY", default=False)
    else None
)
SECURE_HSTS_SECONDS = env_int("SECURE_HSTS_SECONDS", default=0)
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

# The data plane
AIBRIDGE_MAX_BODY_BYTES = env_int(
    "AIBRIDGE_MAX_BODY_BYTES", default=32 * 1024 * 1024, least=1024
)
AIBRIDGE_MAX_ANSWER_BYTES = env_int(
    "AIBRIDGE_MAX_ANSWER_BYTES", default=256 * 1024 * 1024, least=1024
)
AIBRIDGE_HEARTBEAT_SECONDS = env_number(
    "AIBRIDGE_HEARTBEAT_SECONDS", default=15, least=0.05
)
AIBRIDGE_MAX_CONCURRENCY = env_int("AIBRIDGE_MAX_CONCURRENCY", default=0)
AIBRIDGE_RATE_LIMIT = env_int("AIBRIDGE_RATE_LIMIT", default=0)
AIBRIDGE_ALLOW_BYOK = env_bool("AIBRIDGE_ALLOW_BYOK", default=True)
AIBRIDGE_DEFAULT_COOLDOWN_SECONDS = env_number(
    "AIBRIDGE_DEFAULT_COOLDOWN_SECONDS", default=60, least=0.001
)
AIBRIDGE_QUOTA_COOLDOWN_SECONDS = env_number(
    "AIBRIDGE_QUOTA_COOLDOWN_SECONDS", default=600, least=0.001
)
AIBRIDGE_TOOL_ITERATIONS = env_int("AIBRIDGE_TOOL_ITERATIONS", default=25, least=1)
AIBRIDGE_TOOL_SECONDS = env_number("AIBRIDGE_TOOL_SECONDS", default=600, least=0.1)
AIBRIDGE_MCP_REFRESH_SECONDS = env_number(
    "AIBRIDGE_MCP_REFRESH_SECONDS", default=300, least=0.1
)
AIBRIDGE_DUMP_DIR = Path(
    _value("AIBRIDGE_DUMP_DIR", str, str(AIBRIDGE_DATA_DIR / "dumps"))
)

# Recording
AIBRIDGE_COMMIT_SECONDS = env_number("AIBRIDGE_COMMIT_SECONDS", default=2, least=0.01)
AIBRIDGE_WRITER_QUEUE = env_int("AIBRIDGE_WRITER_QUEUE", default=10_000, least=1)
AIBRIDGE_SWEEP_SECONDS = env_number("AIBRIDGE_SWEEP_SECONDS", default=30, least=0.1)
AIBRIDGE_RETENTION_DAYS = env_int("AIBRIDGE_RETENTION_DAYS", default=60)
AIBRIDGE_MEMBERS_READ_OWN = env_bool("AIBRIDGE_MEMBERS_READ_OWN", default=False)

# Sharing state between processes
AIBRIDGE_POLL_SECONDS = env_number("AIBRIDGE_POLL_SECONDS", default=0.3, least=0.05)
AIBRIDGE_RESYNC_SECONDS = env_number("AIBRIDGE_RESYNC_SECONDS", default=15, least=0.1)

# Applications
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "aibridge_site.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "providers",
    "interceptions",
    "proxy",
    "aibridge_site",
]
MIDDLEWARE = [
    "aibridge_site.health.Probes",
    "aibridge_site.csp.ContentSecurityPolicy",
    "aibridge_site.viewerzone.ViewerZone",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "aibridge_site.urls"
WSGI_APPLICATION = "aibridge_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


# Database
def _database() -> dict[str, Any]:
    """Return the DATABASES entry: DATABASE_URL, else SQLite in the data directory."""
    url = _value("DATABASE_URL", str, "")
    if not url:
        url = f"sqlite:///{AIBRIDGE_DATA_DIR / 'aibridge.sqlite3'}"
    known = url.startswith(("postgres://", "postgresql://", "sqlite:///"))
    try:
        config = environ.Env.db_url_config(url) if known else {}
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL: {error}") from None
    if config.get("NAME") == ":memory:":
        raise ImproperlyConfigured("DATABASE_URL: SQLite needs a file: sqlite:///file")
    if config.get("ENGINE") == "django.db.backends.sqlite3":
        return _sqlite(config)
    if config.get("ENGINE") == "django.db.backends.postgresql":
        return _postgresql(config)
    raise ImproperlyConfigured(
        "DATABASE_URL: use postgres://user:password@host:port/name or sqlite:///file"
    )


def _sqlite(config: dict[str, Any]) -> dict[str, Any]:
    return config | {
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;"
            "PRAGMA busy_timeout=5000;",
        },
        "TEST": {"NAME": str(config["NAME"]) + ".test"},
    }


def _postgresql(config: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = config.get("OPTIONS", {})
    # A pool per worker: with greenlets a persistent connection would never be reused.
    if env_bool("AIBRIDGE_DATABASE_POOL", default=False):
        options["pool"] = {
            "min_size": 1,
            "max_size": env_int("AIBRIDGE_DATABASE_POOL_SIZE", default=20, least=1),
            # A database that is back is found soon: tries come after 0, 1, 3 and 5 s
            # and anew for whoever asks next. By default the pauses double for ever.
            "timeout": 5,
            "reconnect_timeout": 5,
        }
    options.setdefault("connect_timeout", 5)
    return config | {
        "OPTIONS": options,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
    }


DATABASES = {"default": _database()}

# People
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
CSRF_FAILURE_VIEW = "aibridge_site.problems.stale_form"

# Language and time
LANGUAGE_CODE = "en-gb"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

# Static files
STATIC_URL = "static/"
STATIC_ROOT = Path(_value("AIBRIDGE_STATIC_ROOT", str, str(BASE_DIR / "staticfiles")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "aibridge_site.assets.Storage"
        if not DEBUG
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# Pages
UNFOLD = theme.UNFOLD

# Logs
AIBRIDGE_LOG_LEVEL = _value("AIBRIDGE_LOG_LEVEL", str, "INFO").upper()
if AIBRIDGE_LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    raise ImproperlyConfigured(
        f"AIBRIDGE_LOG_LEVEL={AIBRIDGE_LOG_LEVEL!r}: use DEBUG, INFO, WARNING or ERROR"
    )
AIBRIDGE_LOG_FORMAT = _value("AIBRIDGE_LOG_FORMAT", str, "text")
if AIBRIDGE_LOG_FORMAT not in {"text", "json"}:
    raise ImproperlyConfigured(
        f"AIBRIDGE_LOG_FORMAT={AIBRIDGE_LOG_FORMAT!r}: use text or json"
    )
LOGGING = configuration(AIBRIDGE_LOG_FORMAT, AIBRIDGE_LOG_LEVEL)

"""How gunicorn serves AI Bridge: `gunicorn -c gunicorn.conf.py` needs nothing more.

Values come from aibridge_site/settings.py; docs/settings.md explains them.
"""

# Before anything else: psycopg and Django choose how to wait when they are imported.
from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
from logging.config import dictConfig  # noqa: E402
from pathlib import Path  # noqa: E402

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aibridge_site.settings")
# Workers take connections from a pool; commands and tests open their own.
os.environ.setdefault("AIBRIDGE_DATABASE_POOL", "True")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from django.conf import settings  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from gunicorn.glogging import Logger  # noqa: E402

try:
    _host = settings.AIBRIDGE_HOST
    bind = f"{f'[{_host}]' if ':' in _host else _host}:{settings.AIBRIDGE_PORT}"
except ImproperlyConfigured as error:
    sys.exit(f"AI Bridge cannot start: {error}")

wsgi_app = "aibridge_site.wsgi:application"
proc_name = "aibridge"
worker_class = "aibridge_site.worker.Worker"
workers = settings.AIBRIDGE_WORKERS
# Connections beyond this wait in the backlog; they are not refused.
worker_connections = 4000
backlog = 4096
keepalive = 75
# Notices a blocked worker; it does not cut long answers.
timeout = 60
graceful_timeout = settings.AIBRIDGE_GRACEFUL_SECONDS
# Code is loaded in each worker, so that HUP serves new code.
preload_app = False
# Two servers of one user would take the socket from each other.
control_socket_disable = True

limit_request_line = 8190
limit_request_field_size = 16380
# Codex names headers with underscores. gunicorn drops such names, since in WSGI they
# cannot be told from names with hyphens; these may pass from any peer. What a reverse
# proxy may say is Django's to decide (AIBRIDGE_BEHIND_TLS_PROXY), hence no scheme here.
forwarded_allow_ips = "*"
forwarder_headers = "SESSION_ID,THREAD_ID,CONVERSATION_ID"
secure_scheme_headers: dict[str, str] = {}

loglevel = settings.AIBRIDGE_LOG_LEVEL.lower()


class logger_class(Logger):
    """Lines like those of the application; a request's trace is its interception."""

    def setup(self, cfg):
        super().setup(cfg)
        dictConfig(settings.LOGGING)


_METRICS = Path(
    os.environ.setdefault(
        "PROMETHEUS_MULTIPROC_DIR",
        str(settings.AIBRIDGE_DATA_DIR / "metrics" / str(settings.AIBRIDGE_PORT)),
    )
)


def on_starting(server):
    """Empty the directory in which workers share their counters."""
    # A master that takes over from a running one must not delete its counters.
    if "GUNICORN_PID" not in os.environ:
        shutil.rmtree(_METRICS, ignore_errors=True)
    _METRICS.mkdir(parents=True, exist_ok=True)


def pre_fork(server, worker):
    """Lose no signal that comes while the worker starts."""
    from aibridge_site.worker import hold_signals

    hold_signals()


def post_worker_init(worker):
    """Begin to serve: load providers, listen for changes, record."""
    from proxy import lifecycle

    lifecycle.start()
    lifecycle.drain(lambda: worker.alive, worker.cfg.graceful_timeout)
    # What is loaded by now stays. Python need not look for garbage in it, for which all
    # requests would wait a tenth of a second now and then.
    gc.collect()
    gc.freeze()


def worker_exit(server, worker):
    """Store what is still in memory."""
    from proxy import lifecycle

    lifecycle.stop()


def child_exit(server, worker):
    """Take a dead worker's gauges out of the sums."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)

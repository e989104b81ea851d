"""Settings of a test run, made before Django reads them (loaded with ``-p``).

``AIBRIDGE_TEST_DATABASE=postgres`` starts a throw-away cluster; otherwise SQLite.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests.certificates import write_certificate

if "PYTEST_XDIST_WORKER" not in os.environ:
    _root = tempfile.mkdtemp(prefix="aibridge-test-")
    atexit.register(shutil.rmtree, _root, ignore_errors=True)
    for _name in list(os.environ):
        if _name.startswith(("AIBRIDGE_", "ANTHROPIC_", "OPENAI_")) and (
            _name != "AIBRIDGE_TEST_DATABASE"
        ):
            del os.environ[_name]
    os.environ["AIBRIDGE_DATA_DIR"] = _root
    # Files that an earlier `make run` collected would be read for every test's client.
    os.environ["AIBRIDGE_STATIC_ROOT"] = f"{_root}/static"
    # Each client of httpx and of the SDKs reads the certificates it is to trust; the
    # public ones take 50 ms. No test asks a public server.
    os.environ["SSL_CERT_FILE"] = str(write_certificate(Path(_root)))
    os.environ["AIBRIDGE_ALLOW_PRIVATE_UPSTREAMS"] = "True"
    os.environ["DEBUG"] = "True"
    if os.environ.get("AIBRIDGE_TEST_DATABASE") == "postgres":
        from tests.postgres import Cluster

        _cluster = Cluster().start()
        atexit.register(_cluster.destroy)
        os.environ["DATABASE_URL"] = _cluster.url("aibridge")
    else:
        os.environ.pop("DATABASE_URL", None)
else:
    # Workers of one run share the engine but not the files.
    _root = os.path.join(
        os.environ["AIBRIDGE_DATA_DIR"], os.environ["PYTEST_XDIST_WORKER"]
    )
    os.makedirs(_root, exist_ok=True)
    os.environ["AIBRIDGE_DATA_DIR"] = _root

"""Schemathesis against a real server: what the description says is what is true.

All checks, in all phases (schemathesis.toml says what each of them may answer), once
with the rights of an administrator and once with an auditor's. Takes minutes, so
``make fuzz`` runs it, on PostgreSQL.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from interceptions.models import Interception
from proxy.actors import issue_token

HERE = Path(__file__).resolve().parent
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "")


@pytest.mark.live
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not EXAMPLES, reason="make fuzz runs it")
@pytest.mark.parametrize("role", ["Administrators", "Auditors"])
def test_description_holds(role, gateway, make_user, tmp_path):
    assert connection.vendor == "postgresql"
    if not Interception.objects.exists():
        call_command("seed_demo", interceptions=60, users=3, verbosity=0)
    row, token = issue_token(make_user(role), "schemathesis")
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli",
            "--config-file", HERE / "schemathesis.toml",
            "run", f"{gateway.url}/api/aigateway/schema/",
            "--header", f"Authorization: Bearer {token}",
            "--checks", "all",
            "--max-examples", EXAMPLES,
        ],
        cwd=tmp_path,
        env=os.environ | {
            "OWN_TOKEN_ID": str(row.pk),
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            "PYTHONPATH": str(HERE),
        },
        capture_output=True,
        text=True,
        timeout=1100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert "generated" in done.stdout
    assert " passed" in done.stdout

"""Who may open which door: every URL as every role, against docs/permissions.md.

After a change of URLs or rights, look at what differs, and write the table anew with
``UPDATE_PERMISSIONS=1 python -m pytest tests/flows/test_rest_permissions.py``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from django.db import transaction
from django.test import Client

from providers import registry
from proxy.actors import issue_token
from tests.flows.doors import API, doors, make_rows

pytestmark = pytest.mark.once

PAGE = Path(__file__).resolve().parents[2] / "docs" / "permissions.md"
ROLES = ("anonymous", "member", "auditor", "administrator")
HEADING = "| method | path | " + " | ".join(ROLES) + " |\n|---|---|---|---|---|---|\n"


@pytest.fixture
def people(make_person):
    return {
        "anonymous": None,
        "member": make_person("mia"),
        "auditor": make_person("olga", "Auditors"),
        "administrator": make_person("ada", "Administrators"),
    }


def knock(person, method, path):
    """Return the status of one request, and undo what it did."""
    client, headers = Client(raise_request_exception=False), {}
    with transaction.atomic():
        takes_tokens = path.startswith((API, "/aibridge/")) and "/docs" not in path
        if person is not None and takes_tokens:
            headers["Authorization"] = f"Bearer {issue_token(person, 'test')[1]}"
        elif person is not None:
            client.force_login(person)
        kind = "application/json" if path.startswith(API) else "text/plain"
        if method == "POST" and not takes_tokens:
            answer = client.post(path)
        else:
            answer = client.generic(
                method, path, "{}", content_type=kind, headers=headers
            )
        transaction.set_rollback(True)
    return answer.status_code


@pytest.fixture
def found(people, make_person, settings, tmp_path):
    """The statuses of every door: ``{(method, pattern): [status of each role]}``."""
    settings.AIBRIDGE_MEMBERS_READ_OWN = False
    # The data plane knows its providers from here on: none.
    registry.reload()
    rows = make_rows(make_person("owner"))
    return {
        (method, door.pattern): [
            knock(people[role], method, door.path(rows)) for role in ROLES
        ]
        for door in doors()
        for method in door.methods
    }


def written_table() -> dict[tuple[str, str], list[int]]:
    cells = re.findall(
        r"^\| (\w+) \| `([^`]+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$",
        PAGE.read_text(),
        re.MULTILINE,
    )
    return {(row[0], row[1]): [int(cell) for cell in row[2:]] for row in cells}


def write_table(found: dict[tuple[str, str], list[int]]) -> None:
    text = PAGE.read_text()
    head = text[: text.index(HEADING)]
    lines = [
        f"| {method} | `{path}` | {' | '.join(map(str, statuses))} |"
        for (method, path), statuses in found.items()
    ]
    PAGE.write_text(head + HEADING + "\n".join(lines) + "\n")


def without_twins(found):
    """Leave out paths that answer the same with a slash at their end."""
    return {
        (method, path): statuses
        for (method, path), statuses in found.items()
        if found.get((method, f"{path}/")) != statuses
    }


@pytest.mark.timeout(300)
def test_every_url_answers_every_role_as_the_matrix_says(found):
    documented = without_twins(found)
    if "UPDATE_PERMISSIONS" in os.environ:
        write_table(documented)
    assert documented == written_table()
    # Here too, because a walk takes long.
    nobody_gets_further_than_a_role_above(found)


def nobody_gets_further_than_a_role_above(found):
    for (method, path), statuses in found.items():
        assert not any(status >= 500 for status in statuses), (method, path, statuses)
        anonymous, member, auditor, administrator = statuses
        for lower, higher in ((member, auditor), (auditor, administrator)):
            # Whoever is above may do what those below may.
            if lower in {200, 201, 204}:
                assert higher == lower or "login" in path, (method, path, statuses)
        if path.startswith(API) and path != API:
            assert anonymous in {302, 401}, (method, path)
        if method != "GET" and path.startswith(API) and "/tokens" not in path:
            assert {member, auditor} <= {302, 401, 403, 404, 405}, (method, path)


def test_a_view_that_names_no_permission_lets_nobody_in(rf, people):
    from rest_framework.response import Response

    from providers.api.base import StrictView

    class Forgotten(StrictView):
        def get(self, request):
            return Response({"secret": 1})

    request = rf.get("/")
    request.user = people["administrator"]
    request._force_auth_user = people["administrator"]
    assert Forgotten.as_view()(request).status_code == 403

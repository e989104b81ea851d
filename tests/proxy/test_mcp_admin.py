"""The pages of MCP servers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from interceptions.roles import ADMINISTRATORS, AUDITORS
from providers.models import AuditEvent
from proxy.models import McpServer
from tests.mcp.running import running_server

pytestmark = pytest.mark.django_db

SECRET = "Bearer very-secret-value"


def person(django_user_model, role: str) -> Client:
    user = django_user_model.objects.create_user(f"the-{role or 'member'}")
    if role:
        user.is_staff = True
        user.save()
        user.groups.add(Group.objects.get_or_create(name=role)[0])
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def administrator(django_user_model) -> Client:
    return person(django_user_model, ADMINISTRATORS)


@pytest.fixture(scope="module")
def mcp_url() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture
def row(mcp_url: str) -> McpServer:
    headers = json.dumps({"X-Key": SECRET})
    return McpServer.objects.create(
        name="tools", url=mcp_url, headers=headers, allow_pattern="add|echo"
    )


def form(**changes: object) -> dict[str, object]:
    fields = {"name": "tools", "url": "https://example.com/mcp", "timeout": "60"}
    return {**fields, "enabled": "on", **changes}


def test_server_is_added_with_its_headers(administrator: Client):
    answer = administrator.post(
        reverse("admin:proxy_mcpserver_add"),
        form(new_headers=f"Authorization: {SECRET}\nX-Other: 1"),
    )
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    row = McpServer.objects.get()
    assert json.loads(row.headers) == {"Authorization": SECRET, "X-Other": "1"}
    event = AuditEvent.objects.get()
    assert (event.action, event.target_name) == ("create", "tools")
    assert "very-secret" not in json.dumps(event.changes)


def test_headers_are_never_shown(administrator: Client, row: McpServer):
    page = administrator.get(reverse("admin:proxy_mcpserver_change", args=[row.pk]))
    assert page.status_code == 200
    assert "X-Key" in page.content.decode()
    assert "very-secret" not in page.content.decode()


@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        ({}, {"X-Key": SECRET}),
        ({"new_headers": "X-New: 2"}, {"X-New": "2"}),
        ({"clear_headers": "on"}, {}),
    ],
    ids=["kept", "replaced", "removed"],
)
def test_stored_headers(administrator: Client, row: McpServer, changes, stored):
    url = reverse("admin:proxy_mcpserver_change", args=[row.pk])
    assert administrator.post(url, form(**changes)).status_code == 302
    row.refresh_from_db()
    assert json.loads(row.headers or "{}") == stored


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"new_headers": "no colon"}, "not of the form Name: value"),
        ({"new_headers": "Bad Name: x"}, "not of the form Name: value"),
        ({"allow_pattern": "("}, "Not a regular expression"),
        ({"deny_pattern": "["}, "Not a regular expression"),
        ({"url": "ftp://example.com"}, "must start with http"),
        ({"url": "http://169.254.169.254/mcp"}, "link-local"),
        ({"name": "with space"}, "letters, digits"),
        ({"timeout": "0"}, "greater than"),
    ],
)
def test_wrong_values_are_named(administrator: Client, changes, message: str):
    answer = administrator.post(reverse("admin:proxy_mcpserver_add"), form(**changes))
    assert answer.status_code == 200
    assert message in answer.content.decode()
    assert not McpServer.objects.exists()


def test_button_lists_what_the_server_offers(administrator: Client, row: McpServer):
    url = reverse("admin:proxy_mcpserver_tools", args=[row.pk])
    page = administrator.post(url)
    text = page.content.decode()
    assert "bmcp_tools_add" in text
    assert "delete_everything" in text
    assert "bmcp_tools_delete_everything" not in text
    assert "not allowed" in text
    assert administrator.get(url).status_code == 404


def test_button_tells_why_a_server_does_not_answer(administrator: Client):
    row = McpServer.objects.create(name="down", url="http://127.0.0.1:1/mcp")
    page = administrator.post(reverse("admin:proxy_mcpserver_tools", args=[row.pk]))
    assert "not reachable" in page.content.decode()


def test_switches_are_audited(administrator: Client, row: McpServer):
    url = reverse("admin:proxy_mcpserver_changelist")
    administrator.post(url, {"action": "disable", "_selected_action": [str(row.pk)]})
    row.refresh_from_db()
    assert row.enabled is False
    assert AuditEvent.objects.get().changes == {"enabled": [True, False]}


@pytest.mark.parametrize("role", [AUDITORS, ""])
def test_nobody_else_sees_servers(django_user_model, row: McpServer, role: str):
    client = person(django_user_model, role)
    changelist = reverse("admin:proxy_mcpserver_changelist")
    tools = reverse("admin:proxy_mcpserver_tools", args=[row.pk])
    assert client.get(changelist).status_code == 403
    assert client.post(tools).status_code in (302, 403, 404)

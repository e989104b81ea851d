"""The catalogue of MCP tools: what failing and changing servers do to it."""

from __future__ import annotations

import json

import pytest
from django.db import connection

from proxy.catalogue import Catalogue, list_now, load
from proxy.mcp import McpClient, McpError, McpTool
from proxy.models import McpServer
from proxy.toolsets import ServerConfig
from tests.mcp.running import running_server
from tests.postgres import free_port


class Scripted(McpClient):
    """A client whose server answers as told; counts how often it is asked."""

    def __init__(self) -> None:
        self.names: list[str] = ["a"]
        self.error = ""
        self.asked = 0

    def list_tools(self) -> list[McpTool]:
        self.asked += 1
        if self.error:
            raise McpError(self.error)
        return [McpTool(name) for name in self.names]


class Connector:
    """Makes scripted clients and remembers them by server name."""

    def __init__(self) -> None:
        self.clients: dict[str, Scripted] = {}
        self.made = 0

    def __call__(self, server: ServerConfig) -> Scripted:
        self.made += 1
        return self.clients.setdefault(server.name, Scripted())


@pytest.fixture
def connect() -> Connector:
    return Connector()


@pytest.fixture
def known(connect: Connector) -> Catalogue:
    known = Catalogue(connect)
    known.configure([server("one"), server("two")])
    return known


def server(name: str, **fields) -> ServerConfig:
    return ServerConfig(name, f"http://127.0.0.1:1/{name}", **fields)


def test_tools_of_all_servers_are_offered(known: Catalogue):
    assert list(known.current()) == ["bmcp_one_a", "bmcp_two_a"]


def test_failing_server_keeps_its_tools_and_harms_no_other(
    known: Catalogue, connect: Connector
):
    connect.clients["one"].error = "it is down"
    connect.clients["two"].names = ["a", "b"]
    known.refresh()
    assert list(known.current()) == ["bmcp_one_a", "bmcp_two_a", "bmcp_two_b"]
    assert known.errors() == {"one": "it is down"}


def test_server_that_never_answered_offers_nothing(connect: Connector):
    connect.clients["one"] = Scripted()
    connect.clients["one"].error = "it is down"
    known = Catalogue(connect)
    known.configure([server("one"), server("two")])
    assert list(known.current()) == ["bmcp_two_a"]


def test_unchanged_servers_are_not_asked_again(known: Catalogue, connect: Connector):
    known.configure([server("one"), server("two", deny="a")])
    assert connect.clients["one"].asked == 1
    assert connect.clients["two"].asked == 2
    assert list(known.current()) == ["bmcp_one_a"]


def test_failing_servers_are_asked_again(known: Catalogue, connect: Connector):
    connect.clients["one"].error = "it is down"
    known.refresh()
    connect.clients["one"].error = ""
    known.configure([server("one"), server("two")])
    assert known.errors() == {}


def test_removed_server_takes_its_tools_along(known: Catalogue):
    known.configure([server("two")])
    assert list(known.current()) == ["bmcp_two_a"]


def test_a_request_keeps_the_tools_it_began_with(known: Catalogue):
    current = known.current()
    known.configure([])
    assert list(current) == ["bmcp_one_a", "bmcp_two_a"]
    assert not known.current()


@pytest.mark.django_db
def test_enabled_rows_are_loaded_and_unreadable_ones_left_out(
    connect: Connector,
):
    known = Catalogue(connect)
    McpServer.objects.create(name="on", url="http://127.0.0.1:1/")
    McpServer.objects.create(name="off", url="http://127.0.0.1:1/", enabled=False)
    McpServer.objects.create(name="broken", url="http://127.0.0.1:1/")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE proxy_mcpserver SET headers = 'not encrypted' WHERE name = 'broken'"
        )
    load(known)
    assert list(known.current()) == ["bmcp_on_a"]


@pytest.mark.django_db
def test_headers_are_stored_encrypted_and_sent():
    with running_server("--token", "open-sesame") as url:
        headers = json.dumps({"Authorization": "Bearer open-sesame"})
        row = McpServer.objects.create(
            name="t", url=url, headers=headers, deny_pattern="delete"
        )
        listing = list_now(McpServer.objects.get(pk=row.pk))
    assert listing.error == ""
    ids = {tool.name: tool.id for tool in listing.tools}
    assert ids["add"] == "bmcp_t_add"
    assert ids["delete_everything"] == ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT headers FROM proxy_mcpserver")
        assert "open-sesame" not in cursor.fetchone()[0]


@pytest.mark.django_db
def test_listing_now_tells_the_error():
    row = McpServer(name="t", url=f"http://127.0.0.1:{free_port()}/mcp")
    assert "not reachable" in list_now(row).error

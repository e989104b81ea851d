"""Imports point one way, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Each app and the apps it may know. The shell knows all, and nobody knows the shell.
MAY_IMPORT = {
    "providers": set(),
    "interceptions": {"providers"},
    "proxy": {"providers", "interceptions"},
    "aibridge_site": {"providers", "interceptions", "proxy"},
}
PURE = ("providers.keypool", "proxy.retry_after", "proxy.sse", "proxy.dialects")
IMPURE = {"django", "rest_framework", "httpx", "gevent", "geventhttpclient", "socket"}
# What a request passes through, from its door inwards: a stage knows only later ones.
STAGES = (
    {"proxy.views"},
    {"proxy.interceptor", "proxy.passthrough"},
    {"proxy.failover", "proxy.credentials", "proxy.relay", "proxy.tools"},
    {"proxy.upstream"},
    {"proxy.sse", "proxy.retry_after", "proxy.errors", "proxy.dialects"},
)
# What a request asks of the database goes through these: from memory, mostly.
DOORS_TO_DATABASE = {"proxy.actors", "proxy.catalogue"}


@cache
def modules() -> dict[str, Path]:
    """Return the project's modules by name."""
    found = {}
    for app in MAY_IMPORT:
        for path in (ROOT / app).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            if "migrations" not in parts:
                found[name] = path
    return found


@cache
def imported(name: str, *, lazily: bool = True) -> set[str]:
    """Return what a module imports; without ``lazily`` only what its loading needs."""
    tree = ast.parse(modules()[name].read_text())
    nodes = ast.walk(tree) if lazily else _needed_to_load(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = _source(name, node)
            found.add(source)
            found |= {
                whole
                for alias in node.names
                if (whole := f"{source}.{alias.name}") in modules()
            }
    return found


def _source(name: str, node: ast.ImportFrom) -> str:
    """Return the absolute name of what ``from ... import`` names."""
    if node.level == 0:
        return str(node.module)
    is_package = modules()[name].name == "__init__.py"
    package = name.split(".")[: None if is_package else -1]
    kept = package[: len(package) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


def _needed_to_load(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _needed_to_load(child)


def _top(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("app", MAY_IMPORT)
def test_app_imports_only_the_apps_below_it(app: str):
    wrong = {
        (name, other)
        for name in modules()
        if _top(name) == app
        for other in imported(name)
        if _top(other) in MAY_IMPORT.keys() - MAY_IMPORT[app] - {app}
    }
    assert wrong == set()


@pytest.mark.parametrize("prefix", PURE)
def test_pure_module_knows_no_framework_and_no_wire(prefix: str):
    names = [name for name in modules() if name == prefix or _below(name, prefix)]
    assert names
    wrong = {(name, other) for name in names for other in _reached(name)}
    assert {(name, other) for name, other in wrong if _top(other) in IMPURE} == set()


def _below(name: str, prefix: str) -> bool:
    return name.startswith(f"{prefix}.")


def _reached(name: str) -> set[str]:
    """Return everything that loading a module of the project loads, by its names."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        for other in imported(waiting.pop(), lazily=False) - seen:
            seen.add(other)
            if other in modules():
                waiting.append(other)
    return seen


def test_request_passes_its_stages_in_one_direction():
    place = {name: number for number, stage in enumerate(STAGES) for name in stage}
    wrong = {
        (name, other)
        for name in place
        if name in modules()
        for other in imported(name)
        if place.get(other, len(STAGES)) < place[name]
    }
    assert wrong == set()


def test_request_reaches_the_database_only_by_its_doors():
    on_the_path = {"proxy.views"}
    waiting = ["proxy.views"]
    while waiting:
        for other in imported(waiting.pop()) - on_the_path - DOORS_TO_DATABASE:
            if _top(other) == "proxy" and other in modules():
                on_the_path.add(other)
                waiting.append(other)
    assert "proxy.failover" in on_the_path
    wrong = {
        (name, other)
        for name in on_the_path
        for other in imported(name)
        if other.endswith(".models") or other.startswith("django.db")
    }
    assert wrong == set()


def test_vendors_sdks_are_imported_by_a_command_only():
    users = {
        name
        for name in modules()
        if {_top(other) for other in imported(name)} & {"anthropic", "openai"}
    }
    assert users == {"proxy.management.commands.ask"}
    assert not _reached("aibridge_site.wsgi") & {"anthropic", "openai"}


def test_no_module_needs_itself_to_load():
    graph = {
        name: {other for other in imported(name, lazily=False) if other in modules()}
        - {name}
        for name in modules()
    }
    # A package's own modules load after it by definition.
    for name in graph:
        graph[name] -= {other for other in graph[name] if _below(name, other)}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))

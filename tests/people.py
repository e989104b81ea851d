"""One person of each role, and the API as each of them calls it.

``from tests.people import *`` brings the fixtures into a conftest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.test import Client

from interceptions.roles import make_roles
from proxy.actors import issue_token

__all__ = [
    "admin",
    "as_admin",
    "as_auditor",
    "as_member",
    "auditor",
    "call_as",
    "make_person",
    "member",
]

BASE = "/api/aigateway/"


class Api:
    """Calls the REST API with one person's gateway token; paths are below ``BASE``."""

    def __init__(self, token: str | None) -> None:
        self._client = Client(raise_request_exception=False)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, **query: Any) -> Any:
        return self._client.get(self._url(path), query, headers=self._headers)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        content = json.dumps(body) if body is not None else ""
        return self._client.generic(
            method,
            self._url(path),
            content,
            content_type="application/json",
            headers=self._headers,
        )

    def post(self, path: str, body: Any = None) -> Any:
        return self.send("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self.send("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.send("DELETE", path)

    @staticmethod
    def _url(path: str) -> str:
        return path if path.startswith(("/", "http")) else BASE + path


@pytest.fixture
def make_person(db: None, django_user_model: Any) -> Callable[..., Any]:
    """Return a function that stores a user, in a role when one is named."""

    def make(name: str, role: str = "") -> Any:
        user = django_user_model.objects.create_user(name, is_staff=bool(role))
        if role:
            # Tests that empty the tables empty the groups too.
            if not Group.objects.filter(name=role).exists():
                make_roles(apps)
            user.groups.add(Group.objects.get(name=role))
        return user

    return make


@pytest.fixture
def admin(make_person: Callable[..., Any]) -> Any:
    return make_person("ada", "Administrators")


@pytest.fixture
def auditor(make_person: Callable[..., Any]) -> Any:
    return make_person("olga", "Auditors")


@pytest.fixture
def member(make_person: Callable[..., Any]) -> Any:
    return make_person("mia")


@pytest.fixture
def call_as() -> Callable[[Any], Api]:
    """Return a function that gives the API as a user calls it; None is nobody."""
    return lambda user: Api(user and issue_token(user, "test")[1])


@pytest.fixture
def as_admin(admin: Any, call_as: Callable[[Any], Api]) -> Api:
    return call_as(admin)


@pytest.fixture
def as_auditor(auditor: Any, call_as: Callable[[Any], Api]) -> Api:
    return call_as(auditor)


@pytest.fixture
def as_member(member: Any, call_as: Callable[[Any], Api]) -> Api:
    return call_as(member)

"""The API's own description: complete, valid, and enough to write a client from."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from django.test import Client

from aibridge_site.openapi import operations
from interceptions.api import examples as reading
from providers.api import examples as managing
from proxy.actors import issue_token
from proxy.api import examples as tokens
from tests.flows.doors import API, doors
from tests.interceptions.happenings import happen, turn_of

EXAMPLES = reading.RESPONSES | managing.RESPONSES | tokens.RESPONSES
REQUESTS = reading.REQUESTS | managing.REQUESTS | tokens.REQUESTS


@pytest.fixture
def schema(as_auditor) -> dict[str, Any]:
    answer = as_auditor.get("schema/")
    assert answer["Content-Type"] == "application/vnd.oai.openapi+json"
    return json.loads(answer.content)


def by_id(schema: dict[str, Any], operation_id: str) -> dict[str, Any]:
    return next(
        each for each in operations(schema) if each["operationId"] == operation_id
    )


def check(schema: dict[str, Any], part: dict[str, Any], value: Any) -> None:
    """Validate a value against a part of the description."""
    whole = part | {"components": schema["components"]}
    validator = jsonschema.Draft202012Validator(
        whole, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    errors = [f"{error.json_path}: {error.message}" for error in
              validator.iter_errors(value)]  # fmt: skip
    assert not errors


def test_description_is_openapi_3_1(schema):
    assert schema["openapi"] == "3.1.0"
    assert schema["info"]["description"]
    assert set(schema["components"]["securitySchemes"]) == {
        "gatewayToken",
        "browserSession",
    }


def test_every_door_of_the_api_is_described(schema):
    described = {path.replace("{id}", "{pk}") for path in schema["paths"]}
    for door in doors():
        if not door.pattern.startswith(API) or door.pattern == API:
            continue
        path = door.pattern.replace("<uuid:", "{").replace("<str:", "{")
        path = path.replace(">", "}")
        if "/docs" in path or "/schema" in path or f"{path}/" in described:
            continue
        assert path in described


def test_every_operation_says_what_it_does_takes_and_may_fail_with(schema):
    for operation in operations(schema):
        name = operation["operationId"]
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        assert operation["security"], name
        assert {"400", "401", "403", "503"} <= set(operation["responses"]), name
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                assert parameter["description"], (name, parameter["name"])
        for status, response in operation["responses"].items():
            assert response["description"], (name, status)


def test_every_field_is_described(schema):
    for name, component in schema["components"]["schemas"].items():
        for field, value in component.get("properties", {}).items():
            assert "description" in value or "$ref" in value or (
                value.get("type") == "array"
            ), (name, field)  # fmt: skip


def test_answers_have_examples_that_fit_the_description(schema):
    described = {each["operationId"] for each in operations(schema)}
    assert set(EXAMPLES) <= described
    without = described - set(EXAMPLES)
    assert all(
        name.startswith("exports_") or name.endswith(("_destroy", "_revoke"))
        for name in without
    ), without
    for name, example in EXAMPLES.items():
        responses = by_id(schema, name)["responses"]
        content = (responses.get("200") or responses["201"])["content"]
        check(schema, content["application/json"]["schema"], example)


def test_requests_have_examples_that_fit_the_description(schema):
    for name, example in REQUESTS.items():
        content = by_id(schema, name)["requestBody"]["content"]
        check(schema, content["application/json"]["schema"], example)
    for operation in operations(schema):
        assert ("requestBody" in operation) == (operation["operationId"] in REQUESTS)


def test_answers_fit_the_description(schema, as_auditor, member):
    happen(member, session="s", turns=[turn_of("c", thought="hm", extra={"a": 1})])
    happen(member, session="s", answers="c", error=("timeout", "too slow"))
    for name, path in (
        ("interceptions_list", "interceptions/"),
        ("sessions_list", "sessions/"),
        ("sessions_retrieve", "sessions/s/"),
        ("models_list", "models/"),
        ("provider_names_list", "provider-names/"),
        ("tokens_list", "tokens/"),
    ):
        content = by_id(schema, name)["responses"]["200"]["content"]
        answer = as_auditor.get(path).json()
        check(schema, content["application/json"]["schema"], answer)


def test_errors_fit_the_description(schema, as_auditor, as_member):
    error = schema["components"]["schemas"]["Error"]
    for answer in (
        as_auditor.get("interceptions/", limit="x"),
        as_auditor.get("providers/"),
        as_auditor.get("nothing/at/all"),
        as_member.get("sessions/"),
    ):
        assert answer.status_code >= 400
        check(schema, error, answer.json())


def test_page_shows_the_description_without_the_internet(auditor):
    browser = Client()
    assert browser.get(f"{API}docs/").status_code == 302
    browser.force_login(auditor)
    page = browser.get(f"{API}docs/").content.decode()
    assert "swagger-ui" in page
    assert "http://" not in page.replace("http://testserver", "")
    assert "https://" not in page
    script = browser.get(f"{API}docs/?script=").content.decode()
    assert f"{API}schema/" in script


class WrittenFromTheDescription:
    """A client that knows nothing but the description and a token."""

    def __init__(self, schema: dict[str, Any], token: str) -> None:
        self._schema = schema
        scheme = schema["components"]["securitySchemes"]["gatewayToken"]
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client = Client()

    def call(self, operation_id: str, **parameters: Any) -> Any:
        path, operation = next(
            (path, operation)
            for path, methods in self._schema["paths"].items()
            for operation in methods.values()
            if operation["operationId"] == operation_id
        )
        known = {each["name"]: each["in"] for each in operation["parameters"]}
        assert set(parameters) <= set(known), "a parameter that is not described"
        query = {n: v for n, v in parameters.items() if known[n] == "query"}
        for name in set(parameters) - set(query):
            path = path.replace(f"{{{name}}}", str(parameters[name]))
        return self.follow(path, query, operation)

    def follow(self, url: str, query: dict[str, Any], operation: Any) -> Any:
        answer = self._client.get(url, query, headers=self._headers)
        content = operation["responses"][str(answer.status_code)]["content"]
        check(self._schema, content["application/json"]["schema"], answer.json())
        return answer.json()

    def rows(self, operation_id: str, results: str, **parameters: Any) -> list[Any]:
        """Return the rows of all pages."""
        operation = by_id(self._schema, operation_id)
        page = self.call(operation_id, **parameters)
        rows = page[results]
        while page["next"] is not None:
            page = self.follow(page["next"], {}, operation)
            rows += page[results]
        return rows


def test_client_written_from_the_description_lists_filters_and_pages(
    schema, auditor, member, admin
):
    for number in range(5):
        happen(member, session=f"s-{number}")
    happen(admin, session="other", error=("timeout", "too slow"))
    client = WrittenFromTheDescription(schema, issue_token(auditor, "t")[1])
    rows = client.rows("interceptions_list", "results", limit=2)
    assert len({row["id"] for row in rows}) == 6
    (failed,) = client.rows("interceptions_list", "results", outcome="failed")
    assert client.call("interceptions_retrieve", id=failed["id"]) == failed
    sessions = client.rows("sessions_list", "sessions", limit=2, initiator="mia")
    assert [row["session_id"] for row in sessions] == [f"s-{n}" for n in range(5)][::-1]
    detail = client.call("sessions_retrieve", id=sessions[0]["id"])
    assert detail["threads"][0]["prompt"] == "fix the test"
    refused = client.call("interceptions_list", limit=0)
    assert refused["validations"][0]["field"] == "limit"

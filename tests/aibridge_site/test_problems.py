"""Whoever meets an error below /admin/ reads what to do; programs get JSON."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from aibridge_site import problems

ASKED = Exception("what it was about")
ANSWERS = {
    400: lambda request: problems.bad_request(request, ASKED),
    403: lambda request: problems.permission_denied(request, ASKED),
    404: lambda request: problems.not_found(request, ASKED),
    500: problems.server_error,
}


# These tests may not use a database, nor need the answers one.
@pytest.mark.parametrize("status", ANSWERS)
def test_person_is_told_what_to_do(rf, status):
    answer = ANSWERS[status](rf.get("/admin/somewhere/"))
    html = answer.content.decode()
    assert answer.status_code == status
    assert f"Error {status}" in html
    assert 'href="/admin/"' in html
    assert str(ASKED) not in html
    assert "<script" not in html


@pytest.mark.parametrize("status", ANSWERS)
@pytest.mark.parametrize("path", ["/nowhere", "/aibridge/demo", "/api/other"])
def test_program_gets_json(rf, status, path):
    answer = ANSWERS[status](rf.get(path))
    assert answer.status_code == status
    assert list(json.loads(answer.content)) == ["message"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("providers/auditevent/", 403, "Your role does not include this page"),
        ("nowhere/", 404, "There is no such page"),
        ("interceptions/interception/1/change/", 404, "There is no such page"),
    ],
)
def test_auditor_meets_the_page_of_the_error(auditor_pages, path, status, title):
    page = auditor_pages.get(path)
    assert (page.status, title in page.html) == (status, True)


@pytest.mark.django_db
def test_form_that_is_out_of_date_says_so():
    browser = Client(enforce_csrf_checks=True)
    answer = browser.post("/admin/login/", {"username": "a", "password": "b"})
    assert answer.status_code == 403
    assert "This form is out of date" in answer.content.decode()


@pytest.mark.django_db
def test_host_that_is_not_served_is_refused_in_words():
    answer = Client(HTTP_HOST="elsewhere.example").get("/admin/")
    assert answer.status_code == 400
    assert "This request cannot be used" in answer.content.decode()

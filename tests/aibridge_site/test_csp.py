"""Every answer says what a browser may run; only the admin's toolkit may compile."""

from __future__ import annotations

import pytest

from aibridge_site.csp import policy_for

HEADER = "Content-Security-Policy"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/login/", "/admin/jsi18n/", "/admin/nowhere/"])
def test_admin_runs_scripts_of_its_own_only(client, path):
    policy = client.get(path).headers[HEADER]
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2]
    assert "http" not in policy


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/api/aigateway/interceptions", "/nowhere"])
def test_elsewhere_nothing_runs_at_all(client, path):
    policy = client.get(path).headers[HEADER]
    assert "script-src" not in policy
    assert "default-src 'none'" in policy


def test_only_the_admin_may_compile():
    assert "unsafe-eval" not in policy_for("/api/aigateway/docs/")
    assert "unsafe-eval" not in policy_for("/administration/")


@pytest.mark.django_db
def test_page_has_no_inline_script(admin_pages):
    html = admin_pages.get("").html
    for tag in html.split("<script")[1:]:
        opening = tag.partition(">")[0]
        assert "src=" in opening or 'type="application/json"' in opening, opening
    assert " onclick=" not in html

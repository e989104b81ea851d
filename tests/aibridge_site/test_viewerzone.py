"""Times are in the viewer's zone."""

from __future__ import annotations

import pytest

from aibridge_site.viewerzone import COOKIE, zone_of
from tests.interceptions.happenings import happen


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("Asia/Kolkata", "Asia/Kolkata"),
        ("", None),
        ("Mars/Olympus", None),
        ("../../etc/passwd", None),
        ("/etc/localtime", None),
        ("x" * 500, None),
        ("Europe/\x00", None),
    ],
)
def test_cookie_names_a_zone_or_nothing(rf, name, key):
    request = rf.get("/admin/")
    request.COOKIES[COOKIE] = name
    zone = zone_of(request)
    assert (zone and zone.key) == key


@pytest.mark.django_db
def test_page_shows_times_in_the_cookies_zone(auditor_pages, auditor):
    row = happen(auditor)
    type(row).objects.update(started_at="2026-01-02T23:30:00Z")
    path = f"interceptions/interception/{row.pk}/change/"
    assert "2026-01-02 23:30:00" in auditor_pages.get(path).text
    auditor_pages.client.cookies[COOKIE] = "Asia/Kolkata"
    page = auditor_pages.get(path)
    assert "2026-01-03 05:00:00" in page.text
    assert 'datetime="2026-01-02T23:30:00+00:00"' in page.html

"""The suite runs on the engine it was asked to run on."""

from __future__ import annotations

import os

import pytest
from django.db import connection


@pytest.mark.django_db
def test_database_is_the_one_that_was_asked_for():
    asked = os.environ.get("AIBRIDGE_TEST_DATABASE", "sqlite")
    assert connection.vendor == {"postgres": "postgresql"}.get(asked, asked)

"""Values for filters over REST."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from interceptions.models import Facet
from tests.interceptions.rows import make_provider


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"offset": "9" * 30}, "offset"),
        ({"q": "client:x"}, "client"),
        ({"q": "a:b:c"}, "q"),
        ({"page": "2"}, "page"),
    ],
)
def test_value_that_cannot_be_used_is_named(as_auditor, query, field):
    answer = as_auditor.get("models/", **query)
    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["validations"]] == [field]


def test_models_and_clients_are_apart(as_auditor):
    Facet.objects.create(kind="model", value="gpt-5.2")
    Facet.objects.create(kind="client", value="Claude Code")
    assert as_auditor.get("models/").json() == ["gpt-5.2"]
    assert as_auditor.get("clients/").json() == ["Claude Code"]
    assert as_auditor.get("clients/", q='"claude c"').json() == ["Claude Code"]


def test_names_include_deleted_and_forgotten_providers_each_once(as_auditor):
    gone = make_provider("anthropic-eu", deleted_at=timezone.now(), enabled=False)
    live = make_provider("anthropic-eu")
    old = make_provider("zeta", deleted_at=timezone.now())
    make_provider("zeta", deleted_at=timezone.now() - timedelta(days=1))
    Facet.objects.create(kind="provider", value="long-gone")
    rows = as_auditor.get("provider-names/").json()
    assert [(row["name"], row["deleted"]) for row in rows] == [
        ("anthropic-eu", False),
        ("long-gone", True),
        ("zeta", True),
    ]
    assert rows[0]["id"] == str(live.pk) != str(gone.pk)
    assert rows[1]["id"] is None
    assert rows[2]["id"] == str(old.pk)


@pytest.mark.parametrize("path", ["models/", "clients/", "provider-names/"])
def test_options_take_few_queries(as_auditor, django_assert_max_num_queries, path):
    for number in range(5):
        Facet.objects.create(kind="model", value=f"m-{number}")
        make_provider(f"p-{number}")
    as_auditor.get(path)
    with django_assert_max_num_queries(5):
        as_auditor.get(path)

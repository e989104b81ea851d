"""``manage.py interceptions list``: the record, read from a shell."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.utils import timezone

from interceptions.models import Interception, ToolUsage, UserPrompt
from providers.ids import new_id
from providers.models import AiProvider
from tests.commands import run

pytestmark = pytest.mark.django_db

FACTS = {
    "provider_name": "claude",
    "provider_kind": "anthropic",
    "dialect": "anthropic_messages",
    "session_id": "s-1",
}
ASKED_FOR = {
    "id", "started_at", "ended_at", "initiator", "provider_id", "provider_name",
    "provider_kind", "model", "client", "user_agent", "session_id", "outcome",
    "error_type", "error_message", "credential_kind", "credential_hint", "prompts",
    "token_usages", "tool_usages", "thoughts", "attempts",
}  # fmt: skip


@pytest.fixture
def make_interception():
    def make(**fields) -> Interception:
        user, _ = get_user_model().objects.get_or_create(username="ana")
        own = new_id()
        return Interception.objects.create(
            id=own,
            thread_id=own,
            initiator=user,
            started_at=timezone.now(),
            **FACTS | fields,
        )

    return make


@pytest.fixture
def recorded(make_interception):
    """Store three interceptions, the first of them the oldest."""
    rows = [make_interception(model=f"model-{number}") for number in (1, 2, 3)]
    UserPrompt.objects.create(interception=rows[2], prompt="line one\nline \x1b[31mtwo")
    ToolUsage.objects.create(interception=rows[2], tool="Read", input="{}")
    return rows


def test_json_is_a_list_of_whole_objects_newest_first(recorded):
    found = json.loads(run("interceptions", "list", "--format", "json"))
    assert [row["model"] for row in found] == ["model-3", "model-2", "model-1"]
    assert set(found[0]) >= ASKED_FOR
    assert found[0]["prompts"][0]["prompt"].startswith("line one")
    assert found[0]["tool_usages"][0]["tool"] == "Read"


def test_empty_list_is_still_json():
    assert run("interceptions", "list", "--format", "json") == "[]"


def test_jsonl_has_one_object_a_line_and_limit_cuts_the_oldest(recorded):
    text = run("interceptions", "list", "--format", "jsonl", "--limit", "2")
    assert [json.loads(line)["model"] for line in text.splitlines()] == [
        "model-3",
        "model-2",
    ]


def test_table_has_one_line_each_and_no_control_characters(recorded):
    text = run("interceptions", "list")
    assert len(text.splitlines()) == 1 + len(recorded)
    assert "\x1b" not in text


def test_filters_are_those_of_the_rest_lists(recorded, make_interception):
    other = AiProvider.objects.create(
        name="other", kind="openai", base_url="https://x.y"
    )
    make_interception(provider=other, provider_name="other", model="model-4")
    for words in (["--provider", "other"], ["--provider-id", str(other.pk)]):
        (row,) = json.loads(run("interceptions", "list", "--format=json", *words))
        assert row["model"] == "model-4"


def test_wrong_filter_is_refused_with_its_name():
    with pytest.raises(CommandError, match="--outcome: .*nonsense"):
        run("interceptions", "list", "--outcome", "nonsense")
    with pytest.raises(CommandError, match="'0' is not a whole number from 1"):
        run("interceptions", "list", "--limit", "0")

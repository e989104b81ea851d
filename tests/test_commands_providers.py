"""``manage.py providers`` and ``manage.py keys``: what operators do from a shell."""

from __future__ import annotations

import json

import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from providers.models import AiProvider, ApiKey, AuditEvent, KeyEvent
from tests.commands import run
from tests.upstream import FakeUpstream

pytestmark = [pytest.mark.django_db, pytest.mark.once]

SECRET = "sk-ant-canary-0123456789abcdef"


@pytest.fixture
def claude() -> AiProvider:
    run("providers", "add", "claude", "--kind", "anthropic", "--key", SECRET)
    return AiProvider.objects.get(name="claude")


def test_added_provider_takes_the_kinds_base_url_and_keys_in_order():
    said = run(
        "providers", "add", "gpt", "--kind", "openai", "--key", "sk-1", "--key", "sk-2"
    )
    provider = AiProvider.objects.get(name="gpt")
    assert said == "gpt"
    assert provider.base_url == "https://api.openai.com/v1"
    assert [key.secret for key in provider.keys.all()] == ["sk-1", "sk-2"]


def test_key_given_as_a_dash_is_read_from_stdin():
    run(
        "providers",
        "add",
        "gpt",
        "--kind",
        "openai",
        "--key",
        "-",
        stdin="sk-1\nsk-2\n",
    )
    assert [key.secret for key in ApiKey.objects.all()] == ["sk-1", "sk-2"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["Not A Slug", "--kind", "openai"], "name: invalid provider name"),
        (["models", "--kind", "openai"], "name: .* reserved"),
        (["x", "--kind", "openai", "--base-url", "ftp://x"], "base_url: .* http://"),
        (["x", "--kind", "azure"], "base_url: .* blank"),
        (["x", "--kind", "copilot", "--key", "k"], "takes no keys"),
        (["x", "--kind", "openai", "--key", "k", "--key", "k"], "already has this key"),
        (["x", "--kind", "nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_wrong_provider_is_refused_with_the_field_and_leaves_nothing(words, named):
    with pytest.raises(CommandError, match=named):
        run("providers", "add", *words)
    assert not AiProvider.all_objects.exists()


def test_taken_name_is_refused(claude: AiProvider):
    with pytest.raises(CommandError, match="A provider with this name exists"):
        run("providers", "add", "claude", "--kind", "openai")


def test_list_tells_state_and_healthy_keys(claude: AiProvider):
    run("keys", "add", "claude", "--key", "sk-second-key-000000")
    claude.keys.filter(position=0).update(retired_at=timezone.now())
    (row,) = json.loads(run("providers", "list", "--format", "json"))
    assert row == {
        "name": "claude",
        "kind": "anthropic",
        "state": "degraded",
        "keys": "1/2",
        "base_url": "https://api.anthropic.com",
    }


def test_table_is_aligned_and_jsonl_has_one_object_a_line(claude: AiProvider):
    run("providers", "add", "a-much-longer-name", "--kind", "openai")
    head, first, second = run("providers", "list").splitlines()
    assert head.index("KIND") == first.index("openai") == second.index("anthropic")
    lines = run("providers", "list", "--format", "jsonl").splitlines()
    assert [json.loads(line)["name"] for line in lines] == [
        "a-much-longer-name",
        "claude",
    ]


def test_provider_can_be_disabled_deleted_and_restored(claude: AiProvider):
    run("providers", "disable", "claude")
    assert not AiProvider.objects.get(name="claude").enabled
    run("providers", "delete", "claude")
    assert run("providers", "list", "--format", "json") == "[]"
    (deleted,) = json.loads(run("providers", "list", "--deleted", "--format", "json"))
    assert deleted["name"] == "claude"
    run("providers", "restore", "claude")
    run("providers", "enable", "claude")
    assert AiProvider.objects.get(name="claude").enabled


def test_unknown_provider_is_named_in_the_error():
    for words in (["providers", "disable"], ["providers", "restore"], ["keys", "list"]):
        with pytest.raises(CommandError, match="'nobody'"):
            run(*words, "nobody")


def test_changes_are_audited_under_the_operators_name(claude: AiProvider):
    run("providers", "disable", "claude")
    run("keys", "add", "claude", "--key", "sk-second-key-000000")
    events = AuditEvent.objects.order_by("id")
    assert [event.action for event in events] == ["create", "disable", "create"]
    assert all("command line" in event.actor_name for event in events)


def test_key_is_shown_by_its_hint_only(claude: AiProvider):
    added = run(
        "keys", "add", "claude", "--key", "sk-second-key-000000", "--label", "b"
    )
    assert added == "sk-s...0000"
    listed = run("keys", "list", "claude") + run(
        "keys", "list", "claude", "--format=json"
    )
    assert "sk-s...0000" in listed
    assert "sk-second-key-000000" not in listed
    assert SECRET not in listed


def test_second_key_with_the_same_secret_is_refused(claude: AiProvider):
    with pytest.raises(CommandError, match="already has this key"):
        run("keys", "add", "claude", "--key", SECRET)
    assert claude.keys.count() == 1


@pytest.mark.parametrize("wanted", ["0", "spare", "sk-a...cdef"])
def test_retired_key_returns_by_position_label_or_hint(claude: AiProvider, wanted: str):
    claude.keys.update(retired_at=timezone.now(), label="spare")
    run("keys", "return", "claude", wanted)
    assert claude.keys.get().retired_at is None
    assert KeyEvent.objects.get().kind == "returned"


def test_key_in_service_cannot_be_returned(claude: AiProvider):
    with pytest.raises(CommandError, match="is in service"):
        run("keys", "return", "claude", "0")


def test_unknown_and_ambiguous_keys_are_refused(claude: AiProvider):
    run("keys", "add", "claude", "--key", "sk-b", "--label", "same")
    run("keys", "add", "claude", "--key", "sk-c", "--label", "same")
    with pytest.raises(CommandError, match="no key of claude match '9'"):
        run("keys", "test", "claude", "9")
    with pytest.raises(CommandError, match="2 keys of claude match 'same'"):
        run("keys", "test", "claude", "same")


def test_tested_key_returns_to_service_when_upstream_accepts_it(claude: AiProvider):
    claude.keys.update(retired_at=timezone.now())
    with FakeUpstream() as upstream:
        AiProvider.objects.filter(pk=claude.pk).update(base_url=upstream.url)
        assert run("keys", "test", "claude", "0") == "The key works."
    assert claude.keys.get().retired_at is None


def test_tested_key_that_upstream_refuses_is_an_error(claude: AiProvider):
    with FakeUpstream() as upstream:
        upstream.script(SECRET, 401)
        AiProvider.objects.filter(pk=claude.pk).update(base_url=upstream.url)
        with pytest.raises(CommandError, match=r"refused the key \(401\)") as refusal:
            run("keys", "test", "claude", "0")
    assert SECRET not in str(refusal.value)

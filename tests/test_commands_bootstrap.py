"""What a first start stores, and that a later one changes nothing."""

from __future__ import annotations

import logging
import re

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.exceptions import ImproperlyConfigured

from providers.models import AiProvider, AuditEvent
from providers.seeds import Seed, drift, read_seeds, store
from proxy.actors import digest
from proxy.bootstrap import FirstRun, store_first_admin, store_seeds
from proxy.demo import rows
from proxy.models import GatewayToken
from proxy.welcome import welcome
from tests.commands import run

SECRET = "sk-canary-0123456789abcdefghij"


# What the environment says


def test_well_known_keys_name_their_vendors():
    assert read_seeds({"ANTHROPIC_API_KEY": " a ", "OPENAI_API_KEY": "o"}) == [
        Seed(
            "ANTHROPIC_API_KEY",
            "anthropic",
            "anthropic",
            "https://api.anthropic.com",
            ("a",),
        ),
        Seed("OPENAI_API_KEY", "openai", "openai", "https://api.openai.com/v1", ("o",)),
    ]


def test_numbered_providers_are_read_in_the_order_of_their_numbers(tmp_path):
    (tmp_path / "keys").write_text("k1, k2,,k1\n")
    found = read_seeds(
        {
            "AIBRIDGE_PROVIDER_10_KIND": "anthropic",
            "AIBRIDGE_PROVIDER_2_KIND": "openai-compat",
            "AIBRIDGE_PROVIDER_2_NAME": "local",
            "AIBRIDGE_PROVIDER_2_BASE_URL": "https://models.example/v1",
            "AIBRIDGE_PROVIDER_2_KEYS_FILE": str(tmp_path / "keys"),
        }
    )
    assert [(seed.name, seed.keys) for seed in found] == [
        ("local", ("k1", "k2")),
        ("anthropic", ()),
    ]


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"AIBRIDGE_PROVIDER_1_NAME": "x"}, "AIBRIDGE_PROVIDER_1_KIND=''"),
        ({"AIBRIDGE_PROVIDER_1_KIND": "x"}, "AIBRIDGE_PROVIDER_1_KIND='x': use one of"),
        ({"AIBRIDGE_PROVIDER_1_KEY": SECRET}, "AIBRIDGE_PROVIDER_1_KEY: use"),
        ({"AIBRIDGE_PROVIDER_ONE_KIND": "x"}, "AIBRIDGE_PROVIDER_ONE_KIND: use"),
        ({"ANTHROPIC_API_KEY_FILE": "/nowhere"}, "ANTHROPIC_API_KEY: .*No such file"),
        (
            {"AIBRIDGE_PROVIDER_1_KIND": "openai", "AIBRIDGE_PROVIDER_1_NAME": "A B"},
            "AIBRIDGE_PROVIDER_1_NAME='A B': invalid provider name",
        ),
        (
            {"AIBRIDGE_PROVIDER_1_KIND": "openai", "AIBRIDGE_PROVIDER_1_BASE_URL": "x"},
            "AIBRIDGE_PROVIDER_1_BASE_URL='x'",
        ),
        (
            {"AIBRIDGE_PROVIDER_1_KIND": "azure"},
            "AIBRIDGE_PROVIDER_1_BASE_URL: Azure OpenAI needs one",
        ),
        (
            {"AIBRIDGE_PROVIDER_1_KIND": "copilot", "AIBRIDGE_PROVIDER_1_KEYS": SECRET},
            "AIBRIDGE_PROVIDER_1_KEYS: GitHub Copilot takes no keys",
        ),
        (
            {"OPENAI_API_KEY": SECRET, "AIBRIDGE_PROVIDER_1_KIND": "openai"},
            "AIBRIDGE_PROVIDER_1: OPENAI_API_KEY already names 'openai'",
        ),
    ],
)
def test_wrong_provider_setting_is_named_and_no_key_is_told(environment, named):
    with pytest.raises(ImproperlyConfigured, match=named) as refusal:
        read_seeds(environment)
    assert SECRET not in str(refusal.value)


def test_keys_are_not_in_what_a_seed_prints():
    (seed,) = read_seeds({"OPENAI_API_KEY": SECRET})
    assert SECRET not in repr(seed)


# What is stored


@pytest.fixture
def seed() -> Seed:
    return Seed(
        "OPENAI_API_KEY", "openai", "openai", "https://api.openai.com/v1", ("a",)
    )


@pytest.mark.django_db
def test_seed_is_stored_once_and_never_changes_the_row(seed: Seed):
    assert store(seed).name == "openai"
    AiProvider.objects.update(base_url="https://changed.example/v1")
    assert store(seed) is None
    assert AiProvider.objects.get().base_url == "https://changed.example/v1"


@pytest.mark.django_db
def test_deleted_provider_stays_deleted(seed: Seed):
    store(seed)
    run("providers", "delete", "openai")
    store_seeds([seed])
    assert not AiProvider.objects.exists()


@pytest.mark.django_db
def test_drift_is_a_warning_that_names_what_differs_but_no_secret(seed: Seed, caplog):
    store_seeds([seed])
    assert not caplog.records
    moved = Seed(seed.source, "openai", "google", "https://other.example", (SECRET,))
    with caplog.at_level(logging.WARNING):
        store_seeds([moved])
    (record,) = caplog.records
    assert record.differs == "kind, base URL, keys"
    assert SECRET not in str(vars(record))


@pytest.mark.django_db
def test_same_keys_in_another_order_are_no_drift():
    two = Seed("X", "openai", "openai", "https://api.openai.com/v1", ("a", "b"))
    store(two)
    assert drift(two) == []
    again = Seed("X", "openai", "openai", "https://api.openai.com/v1", ("b", "a"))
    assert drift(again) == []


@pytest.mark.django_db
def test_first_run_makes_an_administrator_with_a_token_and_later_runs_do_not():
    first = store_first_admin()
    admin = authenticate(username="admin", password=first.password)
    assert [group.name for group in admin.groups.all()] == ["Administrators"]
    assert GatewayToken.objects.get().digest == digest(first.token)
    assert store_first_admin() == FirstRun()
    assert get_user_model().objects.count() == 1
    assert AuditEvent.objects.count() == 2


@pytest.mark.django_db
def test_any_user_at_all_means_that_this_is_no_first_run():
    get_user_model().objects.create_user("ana")
    assert store_first_admin() == FirstRun()


# The demo provider


@pytest.mark.django_db
def test_demo_is_wanted_until_a_provider_was_ever_stored(seed: Seed):
    assert rows.is_wanted()
    store(seed)
    assert not rows.is_wanted()
    run("providers", "delete", "openai")
    assert not rows.is_wanted()


@pytest.mark.django_db
def test_demo_speaks_both_vendors_apis_and_follows_its_port():
    rows.register("http://127.0.0.1:7001")
    assert rows.known_port() == 7001
    rows.register("http://127.0.0.1:7002")
    assert dict(AiProvider.objects.values_list("kind", "base_url")) == {
        "anthropic": "http://127.0.0.1:7002",
        "openai": "http://127.0.0.1:7002/v1",
    }


@pytest.mark.django_db
def test_demo_row_that_an_administrator_pointed_elsewhere_is_left_alone():
    rows.register("http://127.0.0.1:7001")
    AiProvider.objects.filter(kind="openai").update(base_url="https://real.example/v1")
    rows.register("http://127.0.0.1:7002")
    changed = AiProvider.objects.get(kind="openai")
    assert changed.base_url == "https://real.example/v1"


# What is printed


@pytest.mark.django_db
def test_welcome_shows_secrets_once_and_later_how_to_make_others():
    rows.register("http://127.0.0.1:7001")
    providers = list(AiProvider.objects.all())
    first = welcome("http://gw", providers, FirstRun("pass-word", "aib_1_2"))
    assert "http://gw/admin/" in first
    assert "pass-word" in first
    assert 'ANTHROPIC_BASE_URL="http://gw/aibridge/demo-anthropic"' in first
    assert 'base_url = "http://gw/aibridge/demo-openai/v1"' in first
    assert re.search(r"curl .*http://gw/aibridge/demo-anthropic/v1/messages", first)
    assert first.count("aib_1_2") >= 4
    later = welcome("http://gw", providers, FirstRun())
    assert "tokens create --user admin" in later
    assert "aib_" not in later


@pytest.mark.django_db
def test_welcome_without_a_provider_says_what_to_do():
    assert "add one in the admin" in welcome("http://gw", [], FirstRun())


@pytest.mark.django_db
def test_bootstrap_command_stores_and_prints_the_same(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    said = run("bootstrap")
    assert AiProvider.objects.get().name == "openai"
    assert "/aibridge/openai/v1" in said
    assert "Password:" in said
    assert SECRET not in said
    assert "Password:" not in run("bootstrap")

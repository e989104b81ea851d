"""Providers over REST, as administrators manage them."""

from __future__ import annotations

import uuid

import pytest

from providers.models import AiProvider, ApiKey, AuditEvent
from proxy.actors import actors

SECRET, OTHER = "sk-test-0000000000000001", "sk-test-0000000000000002"
NEW = {
    "kind": "openai",
    "name": "openai-main",
    "base_url": "https://api.openai.com/v1",
    "api_keys": [SECRET, OTHER],
}
BEDROCK = {
    "kind": "bedrock",
    "name": "bedrock-eu",
    "settings": {"region": "eu-central-1", "model": "m", "small_fast_model": "s"},
}


def problems(answer, status=400):
    assert answer.status_code == status, answer.json()
    return {each["field"]: each["detail"] for each in answer.json()["validations"]}


@pytest.fixture
def provider(as_admin):
    answer = as_admin.post("providers/", NEW)
    assert answer.status_code == 201, answer.json()
    return answer.json()


def test_created_provider_is_shown_without_its_secrets(as_admin, provider):
    assert provider["kind"] == "openai"
    assert provider["display_name"] == "openai-main"
    assert provider["enabled"] is True
    assert provider["settings"] is None
    assert [key["hint"] for key in provider["api_keys"]] == [
        "sk-t...0001",
        "sk-t...0002",
    ]
    assert [key["position"] for key in provider["api_keys"]] == [0, 1]
    assert {key["health"]["state"] for key in provider["api_keys"]} == {"valid"}
    for path in ("providers/", "providers/openai-main/", f"providers/{provider['id']}"):
        text = as_admin.get(path).content.decode()
        assert "openai-main" in text
        assert SECRET not in text
    assert list(ApiKey.objects.values_list("fingerprint", flat=True).distinct())


def test_list_is_sorted_by_name_and_hides_deleted_ones(as_admin, provider):
    as_admin.post("providers/", NEW | {"name": "azure-a", "kind": "azure"})
    as_admin.delete("providers/openai-main/")

    def names(**query):
        return [row["name"] for row in as_admin.get("providers/", **query).json()]

    assert names() == ["azure-a"]
    assert names(deleted="only") == ["openai-main"]
    assert names(deleted="include") == ["azure-a", "openai-main"]
    assert as_admin.get("providers/", deleted="x").status_code == 400


@pytest.mark.parametrize("providers", [1, 4])
def test_list_takes_the_same_queries_however_long(
    as_admin, django_assert_num_queries, providers
):
    for number in range(providers):
        as_admin.post("providers/", NEW | {"name": f"p-{number}"})
    as_admin.get("providers/")
    actors.forget()
    with django_assert_num_queries(6):
        as_admin.get("providers/")


@pytest.mark.parametrize(
    ("changes", "field", "detail"),
    [
        ({"kind": None}, "kind", "required"),
        ({"kind": "abacus"}, "kind", "not a valid choice"),
        ({"name": None}, "name", "required"),
        ({"name": "Upper"}, "name", "lowercase"),
        ({"name": "a--b"}, "name", "lowercase"),
        ({"name": "sessions"}, "name", "reserved"),
        ({"name": "x" * 101}, "name", "100"),
        ({"name": "a\n"}, "name", "lowercase"),
        ({"base_url": None}, "base_url", "required"),
        ({"base_url": ""}, "base_url", "required"),
        ({"base_url": "api.openai.com/v1"}, "base_url", "http"),
        ({"base_url": "ftp://api.openai.com"}, "base_url", "http"),
        ({"base_url": "https://"}, "base_url", "http"),
        ({"base_url": "http://169.254.169.254/"}, "base_url", "link-local"),
        ({"base_url": "https://u:p@host/"}, "base_url", "user or password"),
        ({"api_keys": [""]}, "api_keys.0", "blank"),
        ({"api_keys": ["   "]}, "api_keys.0", "blank"),
        ({"api_keys": ["a b"]}, "api_keys.0", "spaces"),
        ({"api_keys": ["a\0b"]}, "api_keys.0", "unprintable"),
        ({"api_keys": [5]}, "api_keys.0", "string"),
        ({"api_keys": SECRET}, "api_keys", "list"),
        ({"api_keys": [SECRET, SECRET]}, "api_keys", "twice"),
        ({"kind": "copilot"}, "api_keys", "takes no keys"),
        ({"settings": {"region": "x"}}, "settings", "no settings"),
        ({"settings": "x"}, "settings", "dictionary"),
        ({"enabled": "yes"}, "enabled", "boolean"),
        ({"enabled": 1}, "enabled", "boolean"),
        ({"max_cooldown": 0}, "max_cooldown", "1"),
        ({"max_cooldown": 10**30}, "max_cooldown", "2678400"),
        ({"max_cooldown": "5"}, "max_cooldown", "integer"),
        ({"connect_timeout": 1e308 * 10}, None, None),
        ({"breaker_threshold": 101}, "breaker_threshold", "100"),
        ({"colour": "red"}, "colour", "not a known field"),
        ({"id": str(uuid.uuid4())}, "id", "not a known field"),
    ],
)
def test_provider_that_cannot_be_is_refused(as_admin, changes, field, detail):
    body = {k: v for k, v in (NEW | changes).items() if v is not None}
    answer = as_admin.post("providers/", body)
    assert answer.status_code == 400, answer.json()
    if field is not None:
        assert detail in problems(answer)[field]
    assert not AiProvider.all_objects.exists()


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ({"region": "", "model": "m", "small_fast_model": "s"}, "blank"),
        ({"model": "m", "small_fast_model": "s"}, "region or base url required"),
        ({"region": "r", "small_fast_model": "s"}, "model required"),
        ({"region": "r", "model": "m"}, "small fast model required"),
        ({"role_arn": "not-an-arn"}, "not supported"),
        ({"external_id": "x"}, "must not be sent"),
        ({"protocol": "carrier-pigeon"}, "not a valid choice"),
        ({"protocol": "mantle"}, "not a valid choice"),
        ({"_type": "openai"}, "not a valid choice"),
        ({"region": "r", "model": "m", "small_fast_model": "s", "access_key": "a"},
         "both access key"),
    ],
)  # fmt: skip
def test_bedrock_settings_that_cannot_be_are_refused(as_admin, given, detail):
    answer = as_admin.post("providers/", BEDROCK | {"settings": given})
    assert any(detail in text for text in problems(answer).values()), answer.json()


def test_bedrock_secrets_are_kept_when_a_change_leaves_them_out(as_admin):
    secrets = {"access_key": "AKIATEST", "access_key_secret": "very-secret-key"}
    body = BEDROCK | {"settings": BEDROCK["settings"] | secrets}
    created = as_admin.post("providers/", body)
    assert created.status_code == 201, created.json()
    assert "very-secret-key" not in created.content.decode()
    assert created.json()["settings"]["region"] == "eu-central-1"
    changed = {"region": "us-east-1", "model": "m2", "small_fast_model": "s"}
    answer = as_admin.patch("providers/bedrock-eu/", {"settings": changed})
    assert answer.json()["settings"]["region"] == "us-east-1"
    stored = AiProvider.objects.get(name="bedrock-eu").secret_options
    assert "very-secret-key" in stored


def test_name_of_a_live_provider_is_taken(as_admin, provider):
    answer = as_admin.post("providers/", NEW)
    assert answer.status_code == 409
    assert answer.json() == {"message": 'A provider named "openai-main" exists.'}
    as_admin.delete("providers/openai-main/")
    assert as_admin.post("providers/", NEW).status_code == 201


def test_change_touches_only_what_is_given(as_admin, provider):
    answer = as_admin.patch(
        "providers/openai-main/", {"display_name": "OpenAI", "max_cooldown": 60}
    )
    body = answer.json()
    assert (body["display_name"], body["max_cooldown"]) == ("OpenAI", 60)
    assert body["api_keys"] == provider["api_keys"]
    event = AuditEvent.objects.filter(action="change").get()
    assert set(event.changes) == {"display_name", "max_cooldown"}
    assert event.actor_name == "ada"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "other"}, "name"),
        ({"kind": "anthropic"}, "kind"),
        ({"base_url": "nowhere"}, "base_url"),
        ({"base_url": ""}, "base_url"),
        ({"api_keys": [{}]}, "api_keys.0"),
        ({"api_keys": [{"id": str(uuid.uuid4()), "api_key": "a"}]}, "api_keys.0"),
        ({"api_keys": [{"id": str(uuid.uuid4())}]}, "api_keys"),
        ({"api_keys": [{"id": "x"}]}, "api_keys.0.id"),
        ({"api_keys": [{"api_key": " "}]}, "api_keys.0.api_key"),
        ({"api_keys": [{"api_key": "new-key-1"}, {"api_key": "new-key-1"}]},
         "api_keys"),
        ({"api_keys": [{"label": "x"}]}, "api_keys.0.label"),
        ({"api_keys": ["x"]}, "api_keys.0"),
    ],
)  # fmt: skip
def test_change_that_cannot_be_is_refused(as_admin, provider, body, field):
    assert field in problems(as_admin.patch("providers/openai-main/", body))
    assert as_admin.get("providers/openai-main/").json() == provider


def test_empty_change_is_refused(as_admin, provider):
    answer = as_admin.patch("providers/openai-main/", {})
    assert answer.status_code == 400
    assert answer.json()["message"] == "At least one field must be provided."


def test_id_of_a_key_twice_or_of_another_provider_is_refused(as_admin, provider):
    first = provider["api_keys"][0]["id"]
    body = {"api_keys": [{"id": first}, {"id": first}]}
    answer = as_admin.patch("providers/openai-main/", body)
    assert "twice" in problems(answer)["api_keys"]
    other = as_admin.post("providers/", NEW | {"name": "other"}).json()
    body = {"api_keys": [{"id": other["api_keys"][0]["id"]}]}
    answer = as_admin.patch("providers/openai-main/", body)
    assert "unknown id" in problems(answer)["api_keys"]


def test_declared_keys_become_the_pool_in_their_order(as_admin, provider):
    second = provider["api_keys"][1]["id"]
    body = {"api_keys": [{"api_key": "new-key-0000000000001"}, {"id": second}]}
    keys = as_admin.patch("providers/openai-main/", body).json()["api_keys"]
    assert [key["hint"] for key in keys] == ["new-...0001", "sk-t...0002"]
    assert keys[1]["id"] == second
    assert ApiKey.objects.count() == 2
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"create", "delete", "reorder"} <= actions


def test_declaring_no_keys_clears_the_pool(as_admin, provider):
    body = as_admin.patch("providers/openai-main/", {"api_keys": []}).json()
    assert body["api_keys"] == []


def test_declaring_a_key_the_pool_has_is_refused_and_changes_nothing(
    as_admin, provider
):
    ids = [{"id": key["id"]} for key in provider["api_keys"]]
    body = {"api_keys": [*ids, {"api_key": SECRET}], "display_name": "New"}
    answer = as_admin.patch("providers/openai-main/", body)
    assert "already has this key" in problems(answer)["api_keys"]
    assert as_admin.get("providers/openai-main/").json() == provider


def test_deleted_provider_is_gone_and_comes_back_disabled(as_admin, provider):
    assert as_admin.delete("providers/openai-main/").status_code == 204
    assert as_admin.delete("providers/openai-main/").status_code == 404
    assert as_admin.get(f"providers/{provider['id']}/").status_code == 404
    restored = as_admin.post("providers/openai-main/restore/")
    assert restored.status_code == 200
    assert restored.json()["enabled"] is False
    assert restored.json()["deleted_at"] is None
    assert len(restored.json()["api_keys"]) == 2
    assert as_admin.post("providers/openai-main/restore/").status_code == 404


def test_provider_whose_name_is_taken_cannot_come_back(as_admin, provider):
    as_admin.delete("providers/openai-main/")
    as_admin.post("providers/", NEW)
    answer = as_admin.post(f"providers/{provider['id']}/restore/")
    assert answer.status_code == 409


@pytest.mark.parametrize("text", ["UPPER", "a_b", "%00", "a%20b", "é"])
def test_text_that_is_neither_id_nor_name_is_refused(as_admin, text):
    answer = as_admin.get(f"providers/{text}/")
    assert answer.status_code == 400
    assert answer.json()["validations"][0]["field"] == "provider"


def test_unknown_name_or_id_is_404(as_admin):
    assert as_admin.get("providers/nothing/").status_code == 404
    assert as_admin.get(f"providers/{uuid.uuid4()}/").status_code == 404

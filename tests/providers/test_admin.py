"""The pages of providers and keys: what is done with them, and what they never show."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from providers import audit
from providers.models import AiProvider, ApiKey, AuditEvent, KeyEvent
from tests.pages import *  # noqa: F403
from tests.people import *  # noqa: F403

PROVIDERS = "providers/aiprovider/"
KEYS = "providers/apikey/"
SECRET = "sk-ant-api03-" + "s3cr3t" * 8

pytestmark = [pytest.mark.django_db, pytest.mark.once]

DEFAULTS = {
    "enabled": "on",
    "auth_failure_policy": "retire",
    "max_cooldown": 3600,
    "probe_interval": 300,
    "allow_byok": "on",
    "connect_timeout": 10,
    "tls_timeout": 10,
    "total_timeout": 600,
    "idle_timeout": 300,
    "breaker_threshold": 5,
    "breaker_interval": 10,
    "breaker_timeout": 30,
    "breaker_max_requests": 3,
}


def form(**fields):
    return DEFAULTS | {"kind": "anthropic", "name": "main", "base_url": ""} | fields


def secrets_of(provider):
    return [key.secret for key in provider.keys.all()]


def do(pages, row, what, **fields):
    model = "aiprovider" if isinstance(row, AiProvider) else "apikey"
    return pages.post(f"providers/{model}/{row.pk}/do/{what}/", **fields)


# Adding and changing
def test_provider_and_its_keys_are_added_in_one_form(admin_pages):
    keys = f"{SECRET} platform team\n\n  sk-second  \n"
    admin_pages.post(PROVIDERS + "add/", **form(keys=keys))
    provider = AiProvider.objects.get()
    assert provider.base_url == "https://api.anthropic.com"
    found = [(key.secret, key.label) for key in provider.keys.all()]
    assert found == [(SECRET, "platform team"), ("sk-second", "")]
    actions = AuditEvent.objects.order_by("id").values_list("action", "target_type")
    assert list(actions) == [
        ("create", "aiprovider"),
        ("create", "apikey"),
        ("create", "apikey"),
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "Not A Slug"}, "lowercase alphanumeric"),
        ({"name": "sessions"}, "reserved word"),
        ({"base_url": "http://169.254.169.254/"}, "link-local or metadata"),
        ({"base_url": "ftp://example.com"}, "must start with http"),
        ({"base_url": "https://a:b@example.com"}, "user or password"),
        ({"keys": "sk-one\nsk-one"}, "Line 2 repeats a key"),
        ({"kind": "azure"}, "Azure OpenAI needs a base URL"),
        ({"kind": "copilot", "keys": "sk-one"}, "takes no keys of its own"),
        ({"kind": "bedrock"}, "Bedrock: region or base url required"),
    ],
)
def test_form_says_what_is_wrong_and_stores_nothing(admin_pages, fields, said):
    page = admin_pages.post(PROVIDERS + "add/", **form(**fields))
    assert said in page.text
    assert not AiProvider.all_objects.exists()
    assert not ApiKey.objects.exists()


def test_name_that_a_live_provider_has_is_refused(admin_pages, make_provider):
    make_provider("main")
    page = admin_pages.post(PROVIDERS + "add/", **form())
    assert "A provider with this name exists." in page.text


def test_changing_is_audited_as_a_difference(admin_pages, make_provider):
    provider = make_provider("main")
    fields = form(base_url="https://eu.example.com", display_name="Main")
    admin_pages.post(f"{PROVIDERS}{provider.pk}/change/", **fields)
    event = AuditEvent.objects.get()
    assert event.changes == {
        "base_url": ["https://api.anthropic.com", "https://eu.example.com"],
        "display_name": ["", "Main"],
    }
    history = admin_pages.get(f"{PROVIDERS}{provider.pk}/history/").text
    assert "https://eu.example.com" in history
    assert "ada" in history


def test_name_and_kind_never_change(admin_pages, make_provider):
    provider = make_provider("main")
    fields = form(name="other", kind="openai", base_url="https://x.example.com")
    admin_pages.post(f"{PROVIDERS}{provider.pk}/change/", **fields)
    provider.refresh_from_db()
    assert (provider.name, provider.kind) == ("main", "anthropic")


def test_bedrock_secrets_go_in_and_never_out(admin_pages):
    fields = form(
        kind="bedrock",
        region="eu-central-1",
        model="model-a",
        small_fast_model="model-b",
        access_key="AKIA" + "X" * 16,
        access_key_secret=SECRET,
    )
    admin_pages.post(PROVIDERS + "add/", **fields)
    provider = AiProvider.objects.get()
    assert SECRET in provider.secret_options
    page = admin_pages.get(f"{PROVIDERS}{provider.pk}/change/")
    assert "eu-central-1" in page.html
    assert SECRET not in page.html
    kept = fields | {"access_key": "", "access_key_secret": "", "region": "us-east-1"}
    admin_pages.post(f"{PROVIDERS}{provider.pk}/change/", **kept)
    provider.refresh_from_db()
    assert SECRET in provider.secret_options
    assert provider.options["region"] == "us-east-1"
    assert not any(SECRET in str(event.changes) for event in AuditEvent.objects.all())


# The list
def test_list_shows_status_and_keys_and_hides_deleted_ones(admin_pages, make_provider):
    provider = make_provider("main", "sk-one", "sk-two")
    make_provider("gone", deleted_at=timezone.now())
    first = provider.keys.first()
    ApiKey.objects.filter(pk=first.pk).update(retired_at=timezone.now())
    page = admin_pages.get(PROVIDERS)
    assert "1/2" in page.text
    assert "gone" not in page.text
    assert "gone" in admin_pages.get(PROVIDERS, status="deleted").text


@pytest.mark.parametrize(
    ("action", "enabled", "deleted"),
    [("disable", False, False), ("enable", True, False), ("soft_delete", False, True)],
)
def test_actions_change_the_chosen_ones(
    admin_pages, make_provider, action, enabled, deleted
):
    provider, other = make_provider("main"), make_provider("other")
    admin_pages.post(PROVIDERS, action=action, _selected_action=str(provider.pk))
    row = AiProvider.all_objects.get(pk=provider.pk)
    assert (row.enabled, row.deleted_at is not None) == (enabled, deleted)
    assert AiProvider.objects.get(pk=other.pk).enabled


def test_list_costs_the_same_for_any_number(
    admin_pages, make_provider, django_assert_max_num_queries
):
    for number in range(20):
        make_provider(f"p-{number}", f"sk-{number}")
    with django_assert_max_num_queries(10):
        admin_pages.get(PROVIDERS)


def test_deleting_asks_for_the_name(admin_pages, make_provider):
    provider = make_provider("main")
    assert "Not deleted" in do(admin_pages, provider, "delete", name="mian").text
    assert AiProvider.objects.exists()
    do(admin_pages, provider, "delete", name="main")
    assert not AiProvider.objects.exists()
    page = admin_pages.get(f"{PROVIDERS}{provider.pk}/change/")
    assert "Restore" in page.text
    do(admin_pages, provider, "restore")
    assert AiProvider.objects.exists()


def test_nothing_is_done_by_a_link(admin_pages, make_provider):
    provider = make_provider("main", "sk-one")
    for what in ("disable", "delete", "restore", "order", "add-keys", "test"):
        assert admin_pages.get(f"{PROVIDERS}{provider.pk}/do/{what}/").status == 404
    key = provider.keys.get()
    for what in ("test", "return", "disable", "delete", "rotate", "up"):
        assert admin_pages.get(f"{KEYS}{key.pk}/do/{what}/").status == 404
    assert AiProvider.objects.get().enabled
    assert ApiKey.objects.get().enabled


# Keys on the provider's page
def test_adding_keys_touches_no_other(admin_pages, make_provider):
    provider = make_provider("main", "sk-one")
    before = ApiKey.objects.values().get()
    page = do(admin_pages, provider, "add-keys", keys="sk-two backup\nsk-three")
    assert secrets_of(provider) == ["sk-one", "sk-two", "sk-three"]
    assert ApiKey.objects.filter(pk=before["id"]).values().get() == before
    assert "sk-two" not in page.html


def test_known_key_adds_nothing_and_is_told(admin_pages, make_provider):
    provider = make_provider("main", "sk-one")
    page = do(admin_pages, provider, "add-keys", keys="sk-two\nsk-one")
    assert "already has this key" in page.text
    assert secrets_of(provider) == ["sk-one"]


def test_keys_are_put_into_order(admin_pages, make_provider):
    provider = make_provider("main", "sk-one", "sk-two", "sk-three")
    one, two, three = provider.keys.all()
    do(admin_pages, provider, "order", order=f"{three.pk},{one.pk},{two.pk}")
    assert secrets_of(provider) == ["sk-three", "sk-one", "sk-two"]
    do(admin_pages, two, "up")
    assert secrets_of(provider) == ["sk-three", "sk-two", "sk-one"]
    do(admin_pages, three, "down")
    assert secrets_of(provider) == ["sk-two", "sk-three", "sk-one"]
    assert do(admin_pages, provider, "order", order="nonsense").status == 404


def test_connection_is_tested_with_the_first_key(admin_pages, make_provider, upstream):
    provider = make_provider("main", "sk-one", "sk-two", base_url=upstream.url)
    upstream.script("sk-one", 200, {}, body=b'{"data": []}')
    page = do(admin_pages, provider, "test")
    assert "The key works." in page.text
    assert upstream.keys_tried == ["sk-one"]


def test_connection_without_a_key_says_what_to_do(admin_pages, make_provider):
    assert "Add a key first" in do(admin_pages, make_provider("main"), "test").text


# One key
def test_no_page_shows_a_secret(admin_pages, make_provider):
    provider = make_provider("main", SECRET)
    key = provider.keys.get()
    do(admin_pages, key, "label", label="billing")
    paths = [
        "",
        PROVIDERS,
        f"{PROVIDERS}{provider.pk}/change/",
        f"{PROVIDERS}{provider.pk}/history/",
        KEYS,
        f"{KEYS}{key.pk}/change/",
        f"{KEYS}{key.pk}/history/",
        "providers/auditevent/",
    ]
    for path in paths:
        page = admin_pages.get(path)
        assert page.status == 200
        assert SECRET not in page.html, path
    assert key.hint in admin_pages.get(f"{KEYS}{key.pk}/change/").html


def test_retired_key_returns_by_a_button(admin_pages, make_provider):
    key = make_provider("main", "sk-one").keys.get()
    ApiKey.objects.update(retired_at=timezone.now(), reason="unauthorized")
    page = admin_pages.get(f"{KEYS}{key.pk}/change/")
    assert "Retired" in page.text
    assert "refused by the provider" in page.text
    page = do(admin_pages, key, "return")
    assert "In service" in page.text
    assert KeyEvent.objects.get().actor == "ada"


def test_resting_key_counts_down(admin_pages, make_provider):
    key = make_provider("main", "sk-one").keys.get()
    until = timezone.now() + timedelta(seconds=90)
    ApiKey.objects.update(cooldown_until=until, reason="rate_limited")
    html = admin_pages.get(f"{KEYS}{key.pk}/change/").html
    moments = re.findall(r'<time datetime="([^"]+)"[^>]*data-countdown', html)
    assert until.isoformat() in moments


def test_refused_test_tells_upstreams_words(admin_pages, make_provider, upstream):
    provider = make_provider("main", "sk-bad", base_url=upstream.url)
    body = b'{"error": {"message": "invalid x-api-key"}}'
    upstream.script("sk-bad", 401, {}, body=body)
    page = do(admin_pages, provider.keys.get(), "test")
    assert "Upstream refused the key (401)" in page.text
    assert "invalid x-api-key" in page.text


def test_key_is_rotated_in_place(admin_pages, make_provider):
    provider = make_provider("main", "sk-one", "sk-two")
    key = provider.keys.first()
    page = do(admin_pages, key, "rotate", secret=SECRET)
    assert secrets_of(provider) == [SECRET, "sk-two"]
    assert SECRET not in page.html
    assert "already has" in do(admin_pages, key, "rotate", secret="sk-two").text
    assert "blank" in do(admin_pages, key, "rotate", secret=" ").text


def test_key_is_switched_off_and_deleted(admin_pages, make_provider):
    provider = make_provider("main", "sk-one", "sk-two")
    key = provider.keys.first()
    do(admin_pages, key, "disable")
    assert not ApiKey.objects.get(pk=key.pk).enabled
    do(admin_pages, key, "enable")
    assert ApiKey.objects.get(pk=key.pk).enabled
    do(admin_pages, key, "delete")
    assert secrets_of(provider) == ["sk-two"]


def test_button_leads_back_but_never_to_another_host(admin_pages, make_provider):
    provider = make_provider("main", "sk-one", "sk-two")
    key = provider.keys.first()
    url = f"/admin/{KEYS}{key.pk}/do/up/"
    for wanted, led in (
        (f"/admin/{PROVIDERS}{provider.pk}/change/#keys", True),
        ("https://evil.example/", False),
        ("//evil.example/", False),
    ):
        location = admin_pages.client.post(url, {"next": wanted})["Location"]
        assert (location == wanted) is led


def test_keys_are_found_by_state_and_provider(admin_pages, make_provider):
    make_provider("one", "sk-valid-one")
    two = make_provider("two", "sk-retired-two")
    ApiKey.objects.filter(provider=two).update(retired_at=timezone.now())

    def shown(**query):
        page = admin_pages.get(KEYS, **query)
        return [str(key.provider) for key in page.answer.context["cl"].result_list]

    assert shown() == ["one", "two"]
    assert shown(state="permanent") == ["two"]
    assert shown(state="valid") == ["one"]
    assert shown(provider="one", state="permanent") == []


def test_undecryptable_key_breaks_no_page(admin_pages, make_provider):
    provider = make_provider("main", "sk-one")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_apikey SET secret = 'not a ciphertext'")
    key = ApiKey.objects.defer("secret").get()
    for path in ("", PROVIDERS, f"{PROVIDERS}{provider.pk}/change/", KEYS):
        assert admin_pages.get(path).status == 200
    assert admin_pages.get(f"{KEYS}{key.pk}/change/").status == 200
    page = do(admin_pages, key, "test")
    assert "cannot be read" in page.text
    do(admin_pages, key, "rotate", secret="sk-new")
    assert secrets_of(provider) == ["sk-new"]


# Who may
@pytest.mark.parametrize("who", ["auditor_pages", "member_pages"])
def test_others_neither_see_nor_do_anything(request, who, make_provider):
    pages = request.getfixturevalue(who)
    provider = make_provider("main", "sk-one")
    key = provider.keys.get()
    for path in (PROVIDERS, KEYS, PROVIDERS + "add/", "providers/auditevent/"):
        assert pages.get(path).status == 403
    for row, what in ((provider, "disable"), (provider, "add-keys"), (key, "delete")):
        assert do(pages, row, what, keys="sk-x").status in (403, 404)
    assert AiProvider.objects.get().enabled
    assert secrets_of(provider) == ["sk-one"]


def test_audit_trail_cannot_be_changed(admin_pages, admin, make_provider):
    event = audit.record(admin, "change", make_provider("main"))
    base = "providers/auditevent/"
    assert "change" in admin_pages.get(base).text
    for path in ("add/", f"{event.pk}/delete/"):
        assert admin_pages.post(base + path).status == 403
    admin_pages.post(f"{base}{event.pk}/change/", action="forged")
    admin_pages.post(base, action="delete_selected", _selected_action=str(event.pk))
    assert AuditEvent.objects.get().action == "change"


def test_row_without_a_page_is_headed_by_its_first_column(
    admin_pages, admin, make_provider
):
    audit.record(admin, "change", make_provider("main"))
    html = admin_pages.get("providers/auditevent/").html
    (heading,) = re.findall(r"<th [^>]*data-label=\"([^\"]+)\"", html)
    assert heading == "When"
    assert "Select record" not in html
    assert "/change/" not in html.partition("<tbody")[2]


def test_provider_of_an_unsupported_kind_has_pages_like_any_other(
    admin_pages, make_provider
):
    row = make_provider("odd")
    AiProvider.objects.filter(pk=row.pk).update(kind="vercel")
    for page in ("", "providers/aiprovider/", f"providers/aiprovider/{row.pk}/change/"):
        assert admin_pages.get(page).status == 200
        assert "odd" in admin_pages.get(page).text

"""What people come here to do, from the first login to the last click."""

from __future__ import annotations

import re
import shutil
import subprocess

import httpx
import pytest
from playwright.sync_api import Page, expect

from interceptions.models import Interception, Session
from providers.models import AiProvider
from proxy.actors import issue_token
from tests.live.apis import MESSAGES

pytestmark = [pytest.mark.live, pytest.mark.browser, pytest.mark.timeout(400)]

SESSION = "x-claude-code-session-id"
PASSWORD = "a-good-long-password"
CLAUDE = {"user-agent": "claude-cli/2.1.4 (external, cli)"}


def run_in_shell(command: str) -> str:
    """Run what was copied, as its reader would."""
    if shutil.which("curl") is None:
        url = re.search(r"'(http[^']+)'", command)[1]
        headers = dict(re.findall(r"-H '([^:]+): ([^']+)'", command))
        body = re.search(r"-d '(.+)'", command)[1]
        return httpx.post(url, headers=headers, content=body, timeout=30).text
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


def copied(page: Page) -> str:
    return page.evaluate("navigator.clipboard.readText()")


def test_administrator_from_provider_to_failover_and_back(open_browser, upstream):
    page = open_browser("admin")
    page.goto("/admin/")
    name = f"claude-{page.person.pk}"

    # A provider with two keys.
    page.get_by_role("link", name="Providers", exact=True).click()
    page.goto("/admin/providers/aiprovider/add/")
    page.get_by_label("Kind").select_option("anthropic")
    expect(page.get_by_label("Base URL")).to_have_value("https://api.anthropic.com")
    page.locator("#id_name").fill(name)
    page.get_by_label("Base URL").fill(upstream.url)
    page.get_by_role("textbox", name="Keys").fill(
        "key-first-of-two platform team\nkey-second-of-two research"
    )
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("row").filter(has_text=name)).to_contain_text("2/2")
    assert "key-first-of-two" not in page.content()

    # A token, and settings to copy.
    page.get_by_role("link", name="Connect").click()
    page.get_by_label("Name").fill("my laptop")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_text("copy this token now")).to_be_visible()
    card = page.locator(f"#provider-{name}")
    if card.get_attribute("open") is None:
        card.locator("> summary").click()
    card.locator("summary", has_text="curl").click()
    card.get_by_role("button", name="Copy curl").click()
    expect(card.get_by_role("button", name="Copied")).to_be_visible()
    command = copied(page)
    assert f"/aibridge/{name}/v1/messages" in command

    # The first key is refused, the second one answers.
    wait_served_now(page, command)
    upstream.script("key-first-of-two", 401)
    answer = run_in_shell(command)
    assert "event: message_stop" in answer
    provider = AiProvider.objects.get(name=name)
    assert upstream.keys_tried[-2:] == ["key-first-of-two", "key-second-of-two"]

    # It shows, with its timeline.
    page.goto("/admin/")
    card = page.locator(".ab-provider").filter(has_text=name)
    expect(card).to_contain_text("Degraded")
    expect(card).to_contain_text("1/2 keys healthy")
    page.get_by_role("link", name="Interceptions", exact=True).click()
    page.get_by_role("row").filter(has_text=name).first.get_by_role("link").click()
    story = re.compile(r"401, retired → .+: 200 in \d+ ms")
    expect(page.locator(".ab-story")).to_have_text(story)
    expect(page.get_by_text("Hello", exact=True)).to_be_visible()

    # The retired key is found from the first page, and returned.
    page.goto("/admin/")
    concern = page.locator(".ab-concern").filter(has_text=f"{name} has 1 retired key")
    concern.get_by_role("link").click()
    page.get_by_role("row").filter(has_text="platform team").get_by_role("link").click()
    expect(page.locator(".ab-feed").first).to_contain_text("Retired")
    page.get_by_role("button", name="Return to service").click()
    expect(page.get_by_text("is back in service")).to_be_visible()
    expect(page.locator(".ab-badge").first).to_have_text("In service")
    assert provider.keys.filter(retired_at=None).count() == 2

    # And retired by hand: switched off, so that it is not tried.
    page.get_by_role("button", name="Disable").click()
    expect(page.locator(".ab-badge").first).to_have_text("Switched off")


def wait_served_now(page: Page, command: str) -> None:
    """Wait until the gateway knows what was just set up."""
    url = re.search(r"'(http[^']+)/messages'", command)[1]
    token = re.search(r"Bearer ([\w-]+)", command)[1]
    for _ in range(100):
        probe = httpx.get(f"{url}/none", headers={"Authorization": f"Bearer {token}"})
        if "route not supported" in probe.text:
            return
        page.wait_for_timeout(50)
    raise AssertionError(probe.text)


def test_keys_are_ordered_by_arrows_and_by_dragging(open_browser, make_provider):
    provider = make_provider("anthropic", ("sk-one", "sk-two", "sk-three"))
    labels = dict(zip(provider.keys.all(), ("one", "two", "three"), strict=True))
    for key, label in labels.items():
        provider.keys.filter(pk=key.pk).update(label=label)
    page = open_browser("admin")
    page.goto(f"/admin/providers/aiprovider/{provider.pk}/change/")
    rows = page.locator(".ab-key-row")

    def order():
        return [key.label for key in provider.keys.defer("secret")]

    rows.nth(2).get_by_role("button", name="Move up").click()
    expect(rows.nth(1)).to_contain_text("three")
    assert order() == ["one", "three", "two"]
    with page.expect_navigation():
        rows.nth(2).locator(".ab-handle").drag_to(rows.nth(0).locator(".ab-handle"))
    assert order()[0] == "two"


def test_auditor_finds_a_failure_reads_its_session_and_exports(
    open_browser, gateway, served, upstream, token
):
    provider = served("anthropic", ("key-a",))
    upstream.script("key-a", 500)
    headers = CLAUDE | {SESSION: f"session-{provider.name}"}
    MESSAGES.call(gateway.url, provider.name, token, streaming=True, headers=headers)
    page = open_browser("auditor")
    page.goto("/admin/")
    expect(page.get_by_role("link", name="Providers", exact=True)).to_have_count(0)

    page.get_by_role("link", name="Interceptions", exact=True).click()
    page.get_by_label("Error type").select_option("server_error")
    page.wait_for_url("**error_type=server_error**")
    page.get_by_label("Provider").select_option(str(provider.pk))
    page.wait_for_url("**provider_id=**")
    expect(page.locator("tbody tr")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 2
    assert provider.name in lines[1]

    page.locator("tbody tr").get_by_role("link").click()
    expect(page.get_by_role("heading", name="Server error")).to_be_visible()
    page.get_by_role("link", name="Open in session").click()
    expect(page.locator(".ab-step.is-failed")).to_be_visible()
    expect(page.locator("#summary")).to_contain_text("Claude Code")


def test_saved_link_shows_the_same_list_again(open_browser, gateway, served, token):
    provider = served("anthropic", ("key-a",))
    MESSAGES.call(gateway.url, provider.name, token)
    page = open_browser("auditor")
    page.goto("/admin/interceptions/interception/")
    page.get_by_label("Provider").select_option(str(provider.pk))
    page.wait_for_url("**provider_id=**")
    page.get_by_label("User").fill(Interception.objects.latest("id").initiator.username)
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_url("**initiator=**")
    again = open_browser("auditor")
    again.goto(page.url)
    expect(again.locator("tbody tr")).to_have_count(1)
    expect(again.locator(".ab-chip")).to_have_count(2)


def test_date_range_is_typed_in_the_viewers_zone(open_browser, make_user):
    row = Interception.objects.create(
        initiator=make_user(),
        provider_kind="anthropic",
        dialect="anthropic_messages",
        model="winter-model",
        session_id="range",
        thread_id="01920000-0000-7000-8000-000000000000",
        started_at="2024-01-15T08:30:00Z",
    )
    page = open_browser("auditor")
    page.goto("/admin/interceptions/interception/")
    page.get_by_text("Date range").click()
    page.get_by_label("From").fill("2024-01-15T09:00")
    page.get_by_label("To").fill("2024-01-15T10:00")
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_url("**started_after=2024-01-15T08**")
    expect(page.locator("tbody tr")).to_contain_text("winter-model")
    expect(page.get_by_label("From")).to_have_value("2024-01-15T09:00")
    title = page.locator("tbody time").get_attribute("title")
    assert title == "2024-01-15 09:30:00 Europe/Berlin"
    page.go_back()
    expect(page.get_by_label("User")).to_be_enabled()
    row.delete()


def test_member_connects_and_sees_only_the_own(open_browser, make_user):
    issue_token(make_user(), "somebody else's")
    page = open_browser("member")
    page.goto("/admin/")
    page.wait_for_url("**/connect/")
    expect(page.get_by_role("link", name="Interceptions")).to_have_count(0)
    page.get_by_label("Name").fill("workstation")
    page.get_by_role("button", name="Create token").click()
    raw = page.locator("#raw-token").inner_text()
    assert re.fullmatch(r"aib_[0-9a-f]{8}_[\w-]{43}", raw)
    page.get_by_role("button", name="Copy", exact=True).first.click()
    assert copied(page) == raw
    page.get_by_role("link", name="Tokens", exact=True).click()
    expect(page.locator("#result_list tbody")).to_have_count(1)
    assert raw not in page.content()
    page.get_by_role("link", name="workstation").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator(".ab-badge").first).to_have_text("Revoked")


def test_session_that_goes_on_shows_it_without_reloading(
    open_browser, gateway, served, token
):
    provider = served("anthropic", ("key-a",))
    headers = CLAUDE | {SESSION: f"live-{provider.name}"}
    MESSAGES.call(gateway.url, provider.name, token, headers=headers)
    session = Session.objects.get(session_id=f"live-{provider.name}")
    page = open_browser("auditor")
    page.goto(f"/admin/interceptions/session/{session.pk}/change/")
    expect(page.locator(".ab-step")).to_have_count(1)
    page.evaluate("window.untouched = true")
    messages = [{"role": "user", "content": "and now something else"}]
    MESSAGES.call(gateway.url, provider.name, token, headers=headers, messages=messages)
    expect(page.locator(".ab-step")).to_have_count(2)
    expect(page.locator("#threads")).to_contain_text("and now something else")
    expect(page.locator("#summary dd").filter(has_text="2").first).to_be_visible()
    assert page.evaluate("window.untouched")


def test_description_of_the_api_opens_without_the_internet(open_browser):
    page = open_browser("auditor")
    page.goto("/admin/")
    page.get_by_role("link", name="REST API").click()
    page.wait_for_url("**/api/aigateway/docs/")
    expect(page.locator(".opblock").first).to_be_visible(timeout=30_000)


def test_first_page_keeps_itself_current(open_browser, make_provider):
    provider = make_provider("anthropic", ("key-a",))
    page = open_browser("admin")
    page.clock.install()
    page.goto("/admin/")
    card = page.locator(".ab-provider").filter(has_text=provider.name)
    expect(card).to_contain_text("1/1 keys healthy")
    provider.keys.update(enabled=False)
    page.clock.fast_forward(31_000)
    expect(card).to_contain_text("Switched off")
    assert page.locator(".ab-overview").count() == 1


def test_first_words_by_keyboard_alone(open_browser, make_user):
    user = make_user("Administrators", password=PASSWORD)
    page = open_browser(None)
    page.goto("/admin/login/")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type(user.username)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Control+k")
    expect(page.locator("#search-input-command")).to_be_focused()
    page.keyboard.type("inter")
    # What fits the first letters is shown before what fits them all.
    found = page.locator("#command-results a")
    expect(found).to_have_count(1)
    expect(found).to_contain_text("Interceptions")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/interceptions/**")


def test_narrow_screen_reaches_every_page_by_its_menu(open_browser):
    page = open_browser("admin", viewport={"width": 390, "height": 844})
    page.goto("/admin/")
    for name in ("Sessions", "Interceptions", "Providers", "Keys", "Tokens", "Users"):
        page.get_by_label("Show or hide the navigation").last.click()
        page.get_by_role("link", name=name, exact=True).first.click()
        page.wait_for_load_state()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, page.url

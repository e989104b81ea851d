"""Planted secrets turn up nowhere: not in logs, rows, pages, REST, metrics or files.

A real node is driven through success, failure and refusal with secrets in every place
where one belongs; then everything that it wrote or says is searched for them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.apps import apps
from django.db import connection

from interceptions.models import Interception
from providers import audit, upkeep
from providers.keystate import add_key
from providers.models import AiProvider
from proxy import tokens
from tests.commands import run
from tests.live.gateway import Gateway

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

POOL = "sk-canary-pool-Zx81mQ7tLw04cR"
DEAD = "sk-canary-dead-Kp93vB2nYs65dH"
OWN = "sk-canary-byok-Jt47gF8wXe19aM"
ROTATED = "sk-canary-next-Uq26hN5zCi73oP"
PASSWORD = "canary-password-Wm52kE9rTb"
PROMPT = "canary-prompt-Oy38lS6fVd"
API_KEYS = (POOL, DEAD, OWN, ROTATED)


@pytest.fixture
def node(start_gateway) -> Gateway:
    return start_gateway(AIBRIDGE_LOG_LEVEL="DEBUG", AIBRIDGE_LOG_FORMAT="json")


@pytest.fixture
def provider(node, make_provider, wait_served, upstream) -> AiProvider:
    """Store a provider whose first key is refused in words that repeat it."""
    upstream.script(DEAD, 401, body=_refusal(DEAD)).script(OWN, 403, body=_refusal(OWN))
    made = make_provider("anthropic", (DEAD, POOL))
    wait_served(node, made)
    return made


def _refusal(key: str) -> bytes:
    message = f"invalid x-api-key: {key}"
    error = {"type": "authentication_error", "message": message}
    return json.dumps({"type": "error", "error": error}).encode()


@pytest.fixture
def secrets(make_user) -> dict[str, str]:
    """Return every planted secret by a name for it."""
    owner = make_user("Administrators")
    owner.set_password(PASSWORD)
    owner.save()
    _, raw = tokens.create(owner, "canary", None, actor=owner)
    named = {key: key for key in API_KEYS}
    return named | {"token": raw, "password": PASSWORD, "owner": owner.username}


def test_nothing_tells_a_secret(node, provider, secrets, wait_ended, data_dir):
    answers = _drive(node, provider, secrets)
    for answer in answers:
        if pk := answer.headers.get("x-aibridge-interception-id"):
            wait_ended(pk)
    assert Interception.objects.filter(provider=provider).count() >= 4
    _administer(provider, secrets)
    said = [*answers, *_read_everything(node, provider, secrets)]
    node.stop()

    places = list(_places(node, said, data_dir))
    # What may be stored is found: the search is not blind.
    assert PROMPT in dict(places)["interceptions_userprompt"]
    assert PROMPT not in node.output()
    found = {
        (name, place)
        for place, text in places
        for name, secret in _hidden(secrets).items()
        for form in _forms(secret)
        if form in text
    }
    assert found == set()


def _hidden(secrets: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in secrets.items() if name != "owner"}


def _forms(secret: str) -> set[str]:
    """Return the secret as it would look in text, in its middle part, and in Base64."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {secret, secret[5:-5], encoded[:-1]}


def _drive(node: Gateway, provider: AiProvider, secrets: dict) -> list[httpx.Response]:
    url = f"{node.url}/aibridge/{provider.name}/v1"
    body = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": PROMPT}],
    }
    token = {"Authorization": f"Bearer {secrets['token']}"}
    own = {"X-AIBridge-Token": secrets["token"], "X-Api-Key": OWN}
    wrong = {"Authorization": f"Bearer {secrets['token']}x"}
    with httpx.Client(timeout=30) as client:
        return [
            client.post(f"{url}/messages", json=body, headers=token),
            client.post(f"{url}/messages", json=body | {"stream": True}, headers=token),
            client.post(f"{url}/messages", json=body, headers=own),
            client.post(f"{url}/messages", json=body | {"stream": True}, headers=own),
            client.post(f"{url}/messages", json=body, headers=wrong),
            client.post(f"{url}/messages", content=b"{", headers=token),
            client.post(f"{url}/nowhere", json=body, headers=own),
            client.get(f"{url}/models", headers=token),
            client.get(f"{url}/models", headers=own),
            client.post(f"{node.url}/aibridge/nobody/v1/messages", headers=own),
        ]


def _administer(provider: AiProvider, secrets: dict[str, str]) -> None:
    key = provider.keys.get(position=0)
    upkeep.test_key(key, actor="canary")
    upkeep.rotate(key, ROTATED, actor="canary")
    add_key(provider, OWN, "spare")
    audit.record("canary", "change", provider, {"api_key": ["", OWN], "secret": POOL})


def _read_everything(
    node: Gateway, provider: AiProvider, secrets: dict[str, str]
) -> Iterator[httpx.Response]:
    api = "/api/aigateway"
    token = {"Authorization": f"Bearer {secrets['token']}"}
    with httpx.Client(base_url=node.url, timeout=30, follow_redirects=True) as client:
        for path in ("interceptions/", "sessions/", "providers/", "tokens/"):
            yield client.get(f"{api}/{path}", headers=token)
        yield client.get(f"{api}/providers/{provider.name}/", headers=token)
        yield client.get(f"{api}/providers/{provider.name}/keys/", headers=token)
        yield client.get("/metrics")
        yield client.get("/admin/login/")
        form = {
            "username": secrets["owner"],
            "password": PASSWORD,
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
        }
        landed = client.post("/admin/login/?next=/admin/", data=form)
        assert "/login" not in landed.url.path
        yield landed
        for path in _pages(provider):
            page = client.get(path)
            assert page.status_code == 200, path
            yield page


def _pages(provider: AiProvider) -> list[str]:
    key = provider.keys.first()
    row = Interception.objects.filter(provider=provider).first()
    return [
        "/admin/providers/aiprovider/",
        f"/admin/providers/aiprovider/{provider.pk}/change/",
        f"/admin/providers/apikey/{key.pk}/change/",
        "/admin/providers/auditevent/",
        "/admin/proxy/gatewaytoken/",
        "/admin/interceptions/interception/",
        f"/admin/interceptions/interception/{row.pk}/change/",
    ]


def _places(
    node: Gateway, said: list[httpx.Response], data_dir: Path
) -> Iterator[tuple[str, str]]:
    yield "log", node.output()
    for answer in said:
        place = f"{answer.request.method} {answer.url}"
        yield place, f"{answer.headers} {_without_own_echo(answer)}"
    yield from _rows()
    for words in (["providers", "list"], ["tokens", "list"], ["interceptions", "list"]):
        yield " ".join(words), run(*words, "--format", "json")
    for path in data_dir.rglob("*"):
        if path.is_file() and path.suffix not in {".sqlite3", ".keys", ".key"}:
            yield path.name, path.read_bytes().decode("latin-1")


def _without_own_echo(answer: httpx.Response) -> str:
    """Return the body; a caller may be told the own key that the call itself showed."""
    own = answer.request.headers.get("x-api-key")
    return answer.text.replace(own, "") if own else answer.text


def _rows() -> Iterator[tuple[str, str]]:
    """Yield every table as the database holds it."""
    for model in apps.get_models():
        with connection.cursor() as cursor:
            table = model._meta.db_table
            cursor.execute(f'SELECT * FROM "{table}"')
            yield table, repr(cursor.fetchall())

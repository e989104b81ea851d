"""Who is let in at the data plane's door, as far as no upstream is needed for it."""

from __future__ import annotations

import io
import json

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpResponseBase

from providers import registry
from proxy.actors import issue_token
from proxy.views import serve

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask():
    """Return a function that posts to a provider with a good token."""
    user = get_user_model().objects.create_user("alice")
    token = issue_token(user, "test")[1]

    def post(provider: str) -> HttpResponseBase:
        environ = {
            "REQUEST_METHOD": "POST",
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "CONTENT_LENGTH": "2",
            "wsgi.input": io.BytesIO(b"{}"),
        }
        return serve(environ, provider, "v1/messages")

    return post


@pytest.fixture
def nothing_loaded():
    """Be a worker that was born while the database was away."""
    loaded, registry._registry.ready = registry._registry.ready, False
    yield
    registry._registry.ready = loaded


def test_unknown_provider_is_404(ask):
    registry.reload()
    answer = ask("no-such")
    assert answer.status_code == 404
    assert "does not exist" in json.loads(answer.content)["error"]["message"]


def test_provider_is_not_called_unknown_before_any_was_loaded(nothing_loaded, ask):
    answer = ask("claude")
    assert answer.status_code == 503
    assert "not loaded yet" in json.loads(answer.content)["error"]["message"]

"""Logging in: who may, and how often one may be wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from aibridge_site import logins
from providers.models import AuditEvent

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("mia", password="a-good-password")


def attempt(username="mia", password="wrong", *, address="10.0.0.1"):
    return Client().post(
        LOGIN,
        {"username": username, "password": password},
        REMOTE_ADDR=address,
    )


def is_in(answer):
    return answer.status_code == 302


def test_member_without_staff_status_logs_in(user):
    assert is_in(attempt(password="a-good-password"))


def test_inactive_user_does_not(user):
    user.is_active = False
    user.save()
    assert not is_in(attempt(password="a-good-password"))


def test_after_five_wrong_guesses_the_right_one_is_refused_too(user):
    for _ in range(logins.MOST_FOR_NAME):
        assert "Too many" not in attempt().content.decode()
    answer = attempt(password="a-good-password")
    assert not is_in(answer)
    assert "Too many failed logins" in answer.content.decode()


def test_lock_ends_by_itself(user):
    for _ in range(logins.MOST_FOR_NAME):
        attempt()
    AuditEvent.objects.update(at=timezone.now() - logins.WINDOW - timedelta(seconds=1))
    assert is_in(attempt(password="a-good-password"))


def test_others_cannot_lock_a_user_out(user):
    for _ in range(logins.MOST_FOR_NAME):
        attempt(address="203.0.113.7")
    assert is_in(attempt(password="a-good-password"))


def test_one_address_trying_many_names_is_locked(user):
    for number in range(logins.MOST_FOR_ADDRESS):
        attempt(f"user-{number}", address="203.0.113.7")
    answer = attempt(password="a-good-password", address="203.0.113.7")
    assert not is_in(answer)
    before = AuditEvent.objects.count()
    attempt(address="203.0.113.7")
    assert AuditEvent.objects.count() == before


def test_failed_login_is_audited_without_what_was_typed(user):
    attempt("mia", "my-secret-guess")
    attempt("my-password-in-the-wrong-field", "x")
    told = str(list(AuditEvent.objects.values()))
    assert "my-secret-guess" not in told
    assert "my-password-in-the-wrong-field" not in told
    names = set(AuditEvent.objects.values_list("actor_name", flat=True))
    assert names == {"mia", "unknown user"}


def test_answer_is_the_same_for_a_known_and_an_unknown_name(user):
    def words(answer):
        return answer.context["form"].non_field_errors()

    assert words(attempt("mia")) == words(attempt("nobody"))


@pytest.mark.parametrize(
    ("proxied", "address"), [(True, "198.51.100.9"), (False, "10.0.0.1")]
)
def test_forwarded_address_counts_only_behind_a_trusted_proxy(
    rf, settings, proxied, address
):
    header = ("HTTP_X_FORWARDED_PROTO", "https") if proxied else None
    settings.SECURE_PROXY_SSL_HEADER = header
    request = rf.get(
        LOGIN,
        REMOTE_ADDR="10.0.0.1",
        headers={"x-forwarded-for": "1.2.3.4, 198.51.100.9"},
    )
    assert logins.client_address(request) == address

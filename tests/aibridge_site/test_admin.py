"""The pages of users: roles, and who may change whom."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from aibridge_site.admin import role_of
from interceptions.roles import ADMINISTRATORS, AUDITORS
from providers.models import AuditEvent
from tests.interceptions.happenings import happen

USERS = "auth/user/"
PASSWORD = "correct-horse-battery"

pytestmark = pytest.mark.django_db


def user_form(**fields):
    return {"username": "noor", "password1": PASSWORD, "password2": PASSWORD} | fields


@pytest.mark.parametrize("role", ["", AUDITORS, ADMINISTRATORS])
def test_user_is_added_in_a_role(admin_pages, role):
    admin_pages.post(USERS + "add/", **user_form(role=role))
    user = get_user_model().objects.get(username="noor")
    assert role_of(user) == role
    assert user.check_password(PASSWORD)
    assert PASSWORD not in str(list(AuditEvent.objects.values()))


def test_role_is_changed_and_audited(admin_pages, member):
    fields = {"username": "mia", "role": AUDITORS, "is_active": "on"}
    admin_pages.post(f"{USERS}{member.pk}/change/", **fields)
    assert role_of(get_user_model().objects.get(pk=member.pk)) == AUDITORS
    told = list(AuditEvent.objects.values_list("changes", flat=True))
    assert {"role": ["member", AUDITORS]} in told
    assert AUDITORS in admin_pages.get(f"{USERS}{member.pk}/history/").text


def test_administrator_cannot_take_over_a_superuser(admin_pages, django_user_model):
    root = django_user_model.objects.create_superuser("root", password=PASSWORD)
    page = admin_pages.post(
        f"{USERS}{root.pk}/password/", password1="owned-12345", password2="owned-12345"
    )
    assert page.status == 403
    admin_pages.post(f"{USERS}{root.pk}/change/", username="mine", role="")
    admin_pages.post(USERS, action="deactivate", _selected_action=root.pk)
    root.refresh_from_db()
    assert (root.username, root.is_active) == ("root", True)
    assert root.check_password(PASSWORD)


def test_nobody_becomes_superuser_by_the_form(admin_pages, member):
    fields = {
        "username": "mia",
        "role": "",
        "is_active": "on",
        "is_superuser": "on",
        "is_staff": "on",
        "user_permissions": "1",
    }
    admin_pages.post(f"{USERS}{member.pk}/change/", **fields)
    member.refresh_from_db()
    assert not member.is_superuser
    assert not member.user_permissions.exists()


def test_deactivating_spares_oneself(admin_pages, admin, member):
    chosen = [admin.pk, member.pk]
    admin_pages.post(USERS, action="deactivate", _selected_action=chosen)
    admin.refresh_from_db()
    member.refresh_from_db()
    assert (admin.is_active, member.is_active) == (True, False)
    assert AuditEvent.objects.get().target_name == "mia"


def test_user_with_history_cannot_be_deleted(admin_pages, member):
    happen(member)
    assert admin_pages.post(f"{USERS}{member.pk}/delete/", post="yes").status == 403
    assert get_user_model().objects.filter(pk=member.pk).exists()


def test_setting_a_password_is_audited(admin_pages, member):
    admin_pages.post(
        f"{USERS}{member.pk}/password/", password1=PASSWORD, password2=PASSWORD
    )
    member.refresh_from_db()
    assert member.check_password(PASSWORD)
    assert AuditEvent.objects.filter(action="set password").exists()


@pytest.mark.parametrize("who", ["auditor_pages", "member_pages"])
def test_others_see_no_users(request, who):
    pages = request.getfixturevalue(who)
    for path in (USERS, USERS + "add/"):
        assert pages.get(path).status == 403

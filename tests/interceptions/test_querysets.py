"""Questions about records: whose are they, and which provider do they belong to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import AnonymousUser, Permission

from interceptions.models import Interception, Session
from tests.interceptions.rows import make_interception, make_provider, make_user


@pytest.fixture
def ana(db):
    return make_user("ana")


@pytest.fixture
def auditor(db):
    user = make_user("auditor")
    granted = Permission.objects.get(
        content_type__app_label="interceptions", codename="view_interception"
    )
    user.user_permissions.add(granted)
    return user


def found(provider) -> list[Interception]:
    return list(Interception.objects.for_provider(provider).order_by("id"))


def deleted(name: str, kind: str = "anthropic"):
    return make_provider(name, kind, deleted_at=datetime.now(UTC))


def test_a_row_is_found_by_its_provider_whatever_name_it_kept(ana):
    claude, other = make_provider("claude"), make_provider("other")
    row = make_interception(ana, provider=claude, provider_name="other")
    assert found(claude) == [row]
    assert found(other) == []


def test_a_row_without_provider_is_found_by_the_name_it_kept(ana):
    claude, other = make_provider("claude"), make_provider("other")
    row = make_interception(ana, provider_name="claude")
    assert found(claude) == [row]
    assert found(other) == []


def test_a_row_without_name_is_found_by_its_kind(ana):
    claude, gpt = make_provider("claude"), make_provider("gpt", "openai")
    row = make_interception(ana, provider_name="", provider_kind="anthropic")
    assert found(claude) == [row]
    assert found(gpt) == []


def test_a_row_without_name_is_nobodys_when_two_providers_have_its_kind(ana):
    one, two = make_provider("one"), make_provider("two")
    make_interception(ana, provider_name="", provider_kind="anthropic")
    assert found(one) == found(two) == []


def test_a_name_that_matches_nothing_is_not_found_by_kind(ana):
    claude = make_provider("claude")
    make_interception(ana, provider_name="renamed", provider_kind="anthropic")
    assert found(claude) == []


def test_a_soft_deleted_provider_keeps_its_rows(ana):
    gone = deleted("claude")
    row = make_interception(ana, provider=gone, provider_name="claude")
    make_provider("claude")
    assert found(gone) == [row]


def test_a_soft_deleted_provider_is_meant_by_its_name_while_nobody_else_has_it(ana):
    gone = deleted("claude")
    row = make_interception(ana, provider_name="claude")
    assert found(gone) == [row]
    live = make_provider("claude")
    assert found(gone) == []
    assert found(live) == [row]


def test_two_soft_deleted_providers_of_one_name_share_nothing(ana):
    first, second = deleted("claude"), deleted("claude")
    make_interception(ana, provider_name="claude")
    assert found(first) == found(second) == []


def test_a_hard_deleted_providers_rows_are_found_under_the_name_they_kept(ana):
    gone = make_provider("claude")
    row = make_interception(ana, provider=gone, provider_name="claude")
    gone.delete()
    assert Interception.objects.get(pk=row.pk).provider is None
    assert found(make_provider("claude")) == [row]


def test_the_filter_costs_one_query_more_when_all_rows_are_attributed(
    ana, django_assert_num_queries
):
    claude = make_provider("claude")
    make_interception(ana, provider=claude)
    with django_assert_num_queries(2):
        found(claude)


def test_unattributed_rows_are_those_without_a_provider(ana):
    make_interception(ana, provider=make_provider("claude"))
    row = make_interception(ana, provider_name="claude")
    assert list(Interception.objects.unattributed()) == [row]


def visible(user) -> set[str]:
    """Return the initiators of the interceptions and sessions that a user sees."""
    interceptions = Interception.objects.visible_to(user)
    sessions = Session.objects.visible_to(user)
    seen = {row.initiator.username for row in interceptions}
    assert seen == {row.initiator.username for row in sessions}
    return seen


@pytest.fixture
def rows_of_two(ana):
    for user in (ana, make_user("ben")):
        row = make_interception(user)
        Session.objects.create(
            initiator=user,
            session_id=row.session_id,
            started_at=row.started_at,
            last_active_at=row.started_at,
        )


def test_who_may_view_interceptions_sees_all(rows_of_two, auditor):
    assert visible(auditor) == {"ana", "ben"}


def test_a_superuser_sees_all(rows_of_two):
    root = make_user("root")
    root.is_superuser = True
    assert visible(root) == {"ana", "ben"}


def test_an_inactive_auditor_sees_nothing(rows_of_two, auditor):
    auditor.is_active = False
    assert visible(auditor) == set()


def test_a_member_sees_nothing_by_default(rows_of_two, ana):
    assert visible(ana) == set()


def test_a_member_sees_the_own_rows_where_that_is_allowed(rows_of_two, ana, settings):
    settings.AIBRIDGE_MEMBERS_READ_OWN = True
    assert visible(ana) == {"ana"}


def test_an_anonymous_caller_sees_nothing(rows_of_two, settings):
    settings.AIBRIDGE_MEMBERS_READ_OWN = True
    assert visible(AnonymousUser()) == set()

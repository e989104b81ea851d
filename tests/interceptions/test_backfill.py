"""Attributing old interceptions to providers."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command

from interceptions import backfill
from interceptions.models import Interception, Session
from providers.models import AiProvider
from tests.interceptions.happenings import happen
from tests.interceptions.rows import make_interception, make_provider, make_user


@pytest.fixture
def ana(db):
    return make_user("ana")


def attribute(batch: int = 900) -> backfill.Attribution:
    return backfill.attribute(Interception.objects, AiProvider.all_objects, batch=batch)


def provider_of(row: Interception):
    row.refresh_from_db()
    return row.provider


def test_a_named_row_goes_to_the_live_provider_of_that_name(ana):
    make_provider("other")
    claude = make_provider("claude")
    row = make_interception(ana, provider_name="claude")
    assert attribute() == backfill.Attribution(attributed=1, unattributed=0)
    assert provider_of(row) == claude


def test_a_nameless_row_goes_to_the_only_live_provider_of_its_kind(ana):
    make_provider("gpt", "openai")
    claude = make_provider("claude", "anthropic")
    row = make_interception(ana, provider_name="", provider_kind="anthropic")
    attribute()
    assert provider_of(row) == claude


def test_a_nameless_row_stays_alone_when_two_providers_have_its_kind(ana):
    make_provider("one", "anthropic")
    make_provider("two", "anthropic")
    row = make_interception(ana, provider_name="", provider_kind="anthropic")
    assert attribute() == backfill.Attribution(attributed=0, unattributed=1)
    assert provider_of(row) is None


def test_a_deleted_provider_does_not_make_its_kind_ambiguous(ana):
    make_provider("gone", "anthropic", deleted_at=datetime.now(UTC))
    live = make_provider("live", "anthropic")
    row = make_interception(ana, provider_name="", provider_kind="anthropic")
    attribute()
    assert provider_of(row) == live


def test_a_name_that_matches_nothing_is_not_tried_by_kind(ana):
    make_provider("claude", "anthropic")
    row = make_interception(ana, provider_name="renamed", provider_kind="anthropic")
    attribute()
    assert provider_of(row) is None


def test_the_name_of_a_deleted_provider_attributes_nothing(ana):
    make_provider("claude", deleted_at=datetime.now(UTC))
    row = make_interception(ana, provider_name="claude")
    attribute()
    assert provider_of(row) is None


def test_a_row_that_has_a_provider_keeps_it(ana):
    old = make_provider("claude", deleted_at=datetime.now(UTC))
    make_provider("claude")
    row = make_interception(ana, provider_name="claude", provider=old)
    assert attribute() == backfill.Attribution(attributed=0, unattributed=0)
    assert provider_of(row) == old


@pytest.mark.parametrize("kind", ["mystery", "", "ANTHROPIC", "a" * 20])
def test_an_unknown_kind_stays_alone_and_stops_nothing(ana, kind):
    make_provider("claude")
    strange = make_interception(ana, provider_name="", provider_kind=kind)
    known = make_interception(ana, provider_name="claude")
    assert attribute() == backfill.Attribution(attributed=1, unattributed=1)
    assert provider_of(strange) is None
    assert provider_of(known) is not None


def test_many_rows_are_attributed_in_small_batches(ana):
    claude = make_provider("claude")
    for _ in range(7):
        make_interception(ana, provider_name="claude")
        make_interception(ana, provider_name="")
    assert attribute(batch=3).attributed == 14
    assert Interception.objects.filter(provider=claude).count() == 14


def test_a_second_run_finds_nothing_to_do(ana):
    make_provider("claude")
    make_interception(ana, provider_name="claude")
    make_interception(ana, provider_name="unknown")
    attribute()
    assert attribute() == backfill.Attribution(attributed=0, unattributed=1)


def test_the_command_prints_both_counts(ana):
    make_provider("claude")
    make_interception(ana, provider_name="claude")
    make_interception(ana, provider_name="unknown")
    printed = StringIO()
    call_command("backfill_providers", "--batch", "1", stdout=printed)
    assert printed.getvalue() == "attributed: 1, unattributed: 1\n"


def test_the_command_adds_the_provider_to_its_sessions(ana):
    other = happen(ana, session="other", provider_name="unknown")
    happen(ana, session="s", provider_name="claude")
    happen(ana, session="s", provider_name="claude")
    claude = make_provider("claude")
    call_command("backfill_providers", stdout=StringIO())
    assert Session.objects.get(session_id="s").provider_ids == [str(claude.pk)]
    assert Session.objects.get(session_id=other.session_id).provider_ids == []


def test_the_migration_lists_the_providers_of_sessions(ana):
    claude, gpt = make_provider("claude"), make_provider("gpt", "openai")
    for provider in (claude, gpt, claude):
        asked = {"provider_id": provider.pk, "provider_kind": provider.kind}
        happen(ana, session="both", **asked)
    happen(make_user("ben"), session="both", provider_kind="google")
    Session.objects.update(provider_ids=[], provider_kinds=[])
    migration = import_module("interceptions.migrations.0009_find_sessions_by_provider")
    migration.fill(apps, None)
    mine, other = Session.objects.order_by("initiator_id")
    assert mine.provider_ids == sorted([str(claude.pk), str(gpt.pk)])
    assert mine.provider_kinds == ["anthropic", "openai"]
    assert (other.provider_ids, other.provider_kinds) == ([], ["google"])


def test_the_migration_attributes_and_can_be_reversed(ana):
    claude = make_provider("claude")
    row = make_interception(ana, provider_name="claude")
    migration = import_module("interceptions.migrations.0004_attribute_to_providers")
    (operation,) = migration.Migration.operations
    operation.code(apps, None)
    assert provider_of(row) == claude
    operation.reverse_code(apps, None)
    assert provider_of(row) == claude
    assert row.provider_name == "claude"

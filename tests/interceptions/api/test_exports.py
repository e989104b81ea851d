"""Exporting filtered lists as CSV and JSON lines."""

from __future__ import annotations

import csv
import io
import json

import pytest

from interceptions.api import payloads
from interceptions.api.exports import safe_cell
from interceptions.api.payloads import interception_payload
from interceptions.models import Interception
from tests.interceptions.happenings import happen, turn_of


def lines(answer):
    assert answer.status_code == 200, answer.json()
    return [json.loads(line) for line in answer.getvalue().splitlines()]


def table(answer):
    assert answer.status_code == 200, answer.json()
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1",
        "＝1", "＋1", "－1", "＠x",
    ],
)  # fmt: skip
def test_cell_that_a_spreadsheet_would_compute_is_shown_as_text(text):
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["fix the test", "a=b", "", 5, -5, 0.5])
def test_other_cells_stay_as_they_are(value):
    assert safe_cell(value) == value


def test_csv_has_a_row_for_each_interception_that_matches(as_auditor, member, admin):
    row = happen(
        member, turns=[turn_of("call_1", thought="hm")], prompt='say "a, b"\nand c'
    )
    happen(admin, error=("timeout", "-- too slow"))
    answer = as_auditor.get("exports/interceptions.csv", q="initiator:mia")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert "interceptions.csv" in answer["Content-Disposition"]
    (cells,) = table(answer)
    assert cells["id"] == str(row.pk)
    assert cells["initiator"] == "mia"
    assert cells["prompt"] == 'say "a, b"\nand c'
    assert cells["tools"] == "Bash"
    assert cells["output_tokens"] == "20"
    assert cells["error_type"] == ""
    assert cells["streaming"] == "true"
    (failed,) = table(as_auditor.get("exports/interceptions.csv", outcome="failed"))
    assert failed["error_message"] == "'-- too slow"


def test_numbers_of_more_than_64_bits_are_listed_and_exported(as_auditor, member):
    row = happen(member)
    huge = {"seed": 2**80, "name": "\u2028"}
    Interception.objects.filter(pk=row.pk).update(metadata=huge)
    (listed,) = as_auditor.get("interceptions/").json()["results"]
    (exported,) = lines(as_auditor.get("exports/interceptions.jsonl"))
    assert listed == exported
    assert exported["metadata"] == huge


def test_csv_of_nothing_has_its_header(as_auditor):
    text = as_auditor.get("exports/interceptions.csv").getvalue().decode()
    assert text.startswith("id,started_at,ended_at,")
    assert text.count("\n") == 1


def test_sessions_are_exported_as_they_are_listed(as_auditor, member):
    for number in range(3):
        happen(member, session=f"s-{number}")
    listed = as_auditor.get("sessions/").json()["sessions"]
    assert lines(as_auditor.get("exports/sessions.jsonl")) == listed
    rows = table(as_auditor.get("exports/sessions.csv", session_id="s-1"))
    assert [row["session_id"] for row in rows] == ["s-1"]


def test_batches_are_joined_without_gaps(as_auditor, member, monkeypatch):
    monkeypatch.setattr(payloads, "BATCH", 2)
    expected = [happen(member).pk for _ in range(5)][::-1]
    found = [row["id"] for row in interception_payload(Interception.objects.all())]
    assert found == expected
    exported = lines(as_auditor.get("exports/interceptions.jsonl"))
    assert [row["id"] for row in exported] == list(map(str, expected))


def test_sliced_queryset_keeps_its_own_order(member):
    rows = [happen(member).pk for _ in range(3)]
    oldest = Interception.objects.order_by("id")[:2]
    assert [row["id"] for row in interception_payload(oldest)] == rows[:2]


@pytest.mark.parametrize(
    "path",
    [
        "exports/interceptions.csv",
        "exports/interceptions.jsonl",
        "exports/sessions.csv",
        "exports/sessions.jsonl",
    ],
)
def test_export_takes_filters_and_refuses_the_rest(as_auditor, path):
    assert as_auditor.get(path, model="none").status_code == 200
    answer = as_auditor.get(path, limit="5")
    assert answer.status_code == 400
    assert answer.json()["validations"][0]["field"] == "limit"


def test_members_export_their_own_only_when_they_may_read_them(
    as_member, member, admin, settings
):
    mine = happen(member)
    happen(admin)
    assert as_member.get("exports/interceptions.csv").status_code == 403
    settings.AIBRIDGE_MEMBERS_READ_OWN = True
    found = lines(as_member.get("exports/interceptions.jsonl"))
    assert [row["id"] for row in found] == [str(mine.pk)]

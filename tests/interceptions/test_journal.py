"""The journal: what is on disk survives the process, and is stored once."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from interceptions.journal import Journal, bury, leftovers
from interceptions.records import Record, ended
from providers.ids import new_id


def a_record(**end) -> Record:
    own = new_id()
    return Record(own, end=ended(own, **end))


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path, new_id())
    opened.open()
    yield opened
    opened.close()


class Shelf:
    """Stores records in a list; refuses while ``error`` is set."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.error: Exception | None = None

    def __call__(self, records: list[Record]) -> None:
        if self.error:
            raise self.error
        self.records += records

    @property
    def ids(self) -> list[UUID]:
        return [record.interception for record in self.records]


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.jsonl"))


def left_by_a_dead_process(directory: Path, records: list[Record], tail=b"") -> UUID:
    """Leave a journal as a killed process does."""
    worker = new_id()
    lines = b"".join(record.to_json() + b"\n" for record in records)
    (directory / f"{worker}.000000.jsonl").write_bytes(lines + tail)
    return worker


def test_what_was_appended_is_replayed_in_order(journal):
    records = [a_record() for _ in range(5)]
    journal.append(records[:2])
    journal.append(records[2:])
    assert journal.waiting == 5
    shelf = Shelf()
    assert journal.replay(shelf) == 5
    assert shelf.ids == [record.interception for record in records]
    assert journal.waiting == 0


def test_a_record_comes_back_as_it_was(journal):
    record = a_record(
        error_type="timeout", error_message="zu spät €", ended_at=datetime.now(UTC)
    )
    record.rows = {"thoughts": [{"id": new_id(), "content": 'line\nbreak "q"'}]}
    journal.append([record])
    shelf = Shelf()
    journal.replay(shelf)
    (read,) = shelf.records
    assert read.interception == record.interception
    assert read.end["error_message"] == "zu spät €"
    assert datetime.fromisoformat(read.end["ended_at"]) == record.end["ended_at"]
    assert read.rows["thoughts"][0]["content"] == 'line\nbreak "q"'


def test_the_stored_start_goes_along_with_its_end(journal):
    record = a_record()
    start, prompts = {"model": "m"}, {"prompts": [{"prompt": "p"}]}
    record.begun = Record(record.interception, start, prompts)
    journal.append([record])
    shelf = Shelf()
    journal.replay(shelf)
    assert shelf.records[0].start == start
    assert shelf.records[0].rows == prompts


def test_nothing_is_lost_when_storing_fails(journal, tmp_path):
    journal.append([a_record()])
    shelf = Shelf()
    shelf.error = ConnectionError("away")
    with pytest.raises(ConnectionError):
        journal.replay(shelf)
    journal.append([a_record()])
    assert journal.waiting == 2
    shelf.error = None
    assert journal.replay(shelf) == 2
    assert len(set(shelf.ids)) == 2
    assert len(files(tmp_path)) == 1


def test_files_and_their_directory_are_private(journal, tmp_path):
    journal.append([a_record()])
    bury(tmp_path, a_record(), "odd")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)}
    assert modes == {0o600}
    nested = Journal(tmp_path / "new", new_id())
    nested.open()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    nested.close()


def test_an_empty_file_goes_when_its_process_ends_in_order(tmp_path):
    opened = Journal(tmp_path, new_id())
    opened.open()
    opened.close()
    assert files(tmp_path) == []


def test_records_of_a_process_that_ended_in_order_wait_for_the_next(journal, tmp_path):
    record = a_record()
    journal.append([record])
    journal.close()
    shelf = Shelf()
    (left,) = leftovers(tmp_path)
    left.replay(shelf)
    assert shelf.ids == [record.interception]
    assert files(tmp_path) == []


def test_a_dead_processs_journal_is_replayed_by_anybody(tmp_path):
    records = [a_record() for _ in range(3)]
    worker = left_by_a_dead_process(tmp_path, records)
    shelf = Shelf()
    (left,) = leftovers(tmp_path)
    assert left.worker == worker
    assert left.replay(shelf) == 3
    assert shelf.ids == [record.interception for record in records]
    assert files(tmp_path) == []


def test_a_live_processs_journal_is_left_alone(journal, tmp_path):
    journal.append([a_record()])
    assert list(leftovers(tmp_path)) == []
    journal.replay(Shelf())
    assert list(leftovers(tmp_path)) == []


def test_a_process_is_alive_while_it_replays(journal, tmp_path):
    seen = []
    journal.append([a_record()])
    journal.replay(lambda records: seen.append(list(leftovers(tmp_path))))
    assert seen == [[]]


def test_a_leftover_belongs_to_who_took_it_first(tmp_path):
    left_by_a_dead_process(tmp_path, [a_record()])
    (first,) = leftovers(tmp_path)
    assert list(leftovers(tmp_path)) == []
    first.close()
    (second,) = leftovers(tmp_path)
    second.close()


def test_a_leftover_that_cannot_be_stored_stays(tmp_path):
    left_by_a_dead_process(tmp_path, [a_record()])
    shelf = Shelf()
    shelf.error = ConnectionError("away")
    (left,) = leftovers(tmp_path)
    with pytest.raises(ConnectionError):
        left.replay(shelf)
    left.close()
    shelf.error = None
    (left,) = leftovers(tmp_path)
    assert left.replay(shelf) == 1


def test_a_torn_last_line_is_skipped(tmp_path):
    record = a_record()
    left_by_a_dead_process(tmp_path, [record], tail=a_record().to_json()[:40])
    shelf = Shelf()
    (left,) = leftovers(tmp_path)
    assert left.replay(shelf) == 1
    assert shelf.ids == [record.interception]


@pytest.mark.parametrize("line", [b"{]\n", b"\n", b'{"end": 1}\n', b"\xff\xfe\n"])
def test_a_line_that_is_no_record_is_buried_and_the_rest_stored(tmp_path, line):
    records = [a_record(), a_record()]
    lines = [record.to_json() + b"\n" for record in records]
    worker = new_id()
    whole = lines[0] + line + lines[1]
    (tmp_path / f"{worker}.000000.jsonl").write_bytes(whole)
    shelf = Shelf()
    (left,) = leftovers(tmp_path)
    left.replay(shelf)
    assert shelf.ids == [record.interception for record in records]
    assert (tmp_path / "dead-letters.jsonl").exists()


def test_a_dead_letter_says_when_why_and_what(tmp_path):
    record = a_record()
    bury(tmp_path, record, "too odd")
    (line,) = (tmp_path / "dead-letters.jsonl").read_text().splitlines()
    letter = json.loads(line)
    assert letter["reason"] == "too odd"
    assert str(record.interception) in letter["record"]
    assert datetime.fromisoformat(letter["at"]).tzinfo


def test_dead_letters_are_no_journal(tmp_path):
    bury(tmp_path, a_record(), "odd")
    assert list(leftovers(tmp_path)) == []


def test_many_threads_append_whole_lines(journal):
    records = [a_record() for _ in range(200)]

    def append(part: list[Record]) -> None:
        for record in part:
            journal.append([record])

    parts = [records[n::8] for n in range(8)]
    threads = [threading.Thread(target=append, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shelf = Shelf()
    assert journal.replay(shelf) == 200
    assert sorted(shelf.ids) == sorted(record.interception for record in records)


def test_an_append_that_fails_raises_and_leaves_no_half_line(tmp_path):
    opened = Journal(tmp_path / "gone", new_id())
    (tmp_path / "gone").write_text("a file where the directory should be")
    with pytest.raises((FileExistsError, NotADirectoryError)):
        opened.append([a_record()])
    (tmp_path / "gone").unlink()
    record = a_record()
    opened.append([record])
    shelf = Shelf()
    opened.replay(shelf)
    assert shelf.ids == [record.interception]
    opened.close()


APPENDS_UNTIL_KILLED = """
import sys, uuid, pathlib, django
django.setup()
from interceptions.journal import Journal
from interceptions.records import Record, ended
journal = Journal(pathlib.Path(sys.argv[1]), uuid.uuid4())
journal.open()
while True:
    own = uuid.uuid4()
    journal.append([Record(own, end=ended(own))])
    print(own, flush=True)
"""


def test_everything_acknowledged_before_a_sigkill_is_replayed(tmp_path):
    command = [sys.executable, "-c", APPENDS_UNTIL_KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        acknowledged = [process.stdout.readline().strip() for _ in range(30)]
        assert list(leftovers(tmp_path)) == []
        process.kill()
        acknowledged += process.stdout.read().split()
    shelf = Shelf()
    (left,) = leftovers(tmp_path)
    left.replay(shelf)
    assert [str(id) for id in shelf.ids][: len(acknowledged)] == acknowledged

"""Compares what clients saw, what the provider remembers and what the tables say.

Every finding is a loss or a lie; the rules are decisions D7 and D8:

1. Whatever went upstream has its interception and prompt; what was refused with 503
   did not go upstream.
2. A whole answer has a complete record: ended, completed, with its prompt, attempts,
   usage and the provider's id.
3. Nothing is recorded twice, and nothing stays in progress.
4. Clients see errors only where upstream made one, while the database was away (503),
   or when their worker was killed (a lost connection).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.chaos.load import BROKEN_OFF, ERROR, LEFT, LOST, WHOLE, Seen
from tests.chaos.plans import BROKEN, CUT, ERROR_EVENT, GOOD, Plan, plan_of
from tests.chaos.records import Record, by_number

UNRECORDED = "requests that went upstream unrecorded"
REFUSED = "refused requests that went upstream"
INCOMPLETE = "completed answers without a complete record"
WRONG = "other answers with a wrong record"
TWICE = "duplicates"
OPEN = "rows in progress after the sweep"
UNEXPECTED = "client errors that no decision allows"
JOURNALED = "records left in journals"
RULES = (UNRECORDED, REFUSED, INCOMPLETE, WRONG, TWICE, OPEN, UNEXPECTED, JOURNALED)

_UNSURE = 1.0
"""Seconds by which a moment of the run may be noted late."""
BACK_AGAIN = 5.0
"""Seconds in which every worker finds a database that is back."""

Window = tuple[float, float]


@dataclass(frozen=True)
class Evidence:
    """All that is known after a run; moments are of time.monotonic()."""

    seen: list[Seen]
    tries: Counter[int]
    records: list[Record]
    kills: list[float]
    outages: list[Window]
    journaled: int = 0


def audit(evidence: Evidence) -> dict[str, list[str]]:
    """Return what was found against each of RULES."""
    found: dict[str, list[str]] = {rule: [] for rule in RULES}
    for rule, finding in _findings(evidence):
        found[rule].append(finding)
    found[JOURNALED] = [f"record {n}" for n in range(evidence.journaled)]
    return found


def _findings(evidence: Evidence) -> Iterator[tuple[str, str]]:
    records = by_number(evidence.records)
    for number in evidence.tries:
        if not records.get(number):
            yield UNRECORDED, f"request {number}"
    for record in evidence.records:
        if not record.ended:
            yield OPEN, f"interception {record.id}, request {record.numbers}"
    yield from _repeated(evidence.records, records)
    case = _Case(evidence, defaultdict(list, records))
    for seen in evidence.seen:
        for rule, why in case.judge(seen):
            yield rule, f"request {seen.number} ({seen.result}): {why}; {seen.detail}"


def _repeated(
    all_records: list[Record], by_request: dict[int, list[Record]]
) -> Iterator[tuple[str, str]]:
    for number, records in by_request.items():
        if len(records) > 1:
            yield TWICE, f"request {number} has {len(records)} interceptions"
    for record in all_records:
        positions = [position for position, _ in record.attempts]
        if len(record.numbers) > 1 or len(record.usages) > 1:
            yield TWICE, f"prompts or usages of interception {record.id}"
        if len(set(positions)) < len(positions):
            yield TWICE, f"attempts of interception {record.id}"


Findings = Iterator[tuple[str, str]]


class _Case:
    """Judges one client's view at a time."""

    def __init__(self, evidence: Evidence, records: dict[int, list[Record]]) -> None:
        self._evidence = evidence
        self._records = records
        self._judges: dict[str, Callable[[Seen, Plan, Record | None], Findings]] = {
            WHOLE: self._whole,
            ERROR: self._error,
            BROKEN_OFF: self._broken_off,
            LOST: self._lost,
            LEFT: self._left,
        }

    def judge(self, seen: Seen) -> Findings:
        record = next(iter(self._records[seen.number]), None)
        yield from self._judges[seen.result](seen, plan_of(seen.number), record)

    def _whole(self, seen: Seen, plan: Plan, record: Record | None) -> Findings:
        if plan.fate != GOOD:
            yield WRONG, f"upstream's answer was {plan.fate}"
        if record is None or record.id != seen.interception:
            yield INCOMPLETE, "no interception of that id"
            return
        told = (record.ended, record.outcome, record.status, record.response_id)
        if told != (True, "completed", 200, plan.response_id):
            yield INCOMPLETE, f"the record says {told}"
        if record.usages != [plan.usage]:
            yield INCOMPLETE, f"usage {record.usages}, not {plan.usage}"
        outcomes = [outcome for _, outcome in record.attempts]
        if len(outcomes) != self._evidence.tries[seen.number]:
            yield INCOMPLETE, f"attempts {outcomes}, not as upstream was asked"
        elif outcomes[-1] != "accepted":
            yield INCOMPLETE, f"attempts {outcomes}"

    def _error(self, seen: Seen, plan: Plan, record: Record | None) -> Findings:
        if seen.status == 503:
            yield from self._refused(seen, record)
            return
        is_cut = plan.fate == CUT and seen.status == 502 and not plan.streaming
        if not is_cut and not (plan.fate == BROKEN and seen.status == 500):
            yield UNEXPECTED, f"status {seen.status}"
        yield from _failed(record, seen.status)

    def _refused(self, seen: Seen, record: Record | None) -> Findings:
        if not self._was_away(seen):
            yield UNEXPECTED, "503 while the database was there"
        if self._evidence.tries[seen.number]:
            yield REFUSED, f"asked {self._evidence.tries[seen.number]} times"
        if record is not None and record.outcome != "failed":
            yield WRONG, f"refused, and recorded as {record.outcome}"

    def _broken_off(self, seen: Seen, plan: Plan, record: Record | None) -> Findings:
        if plan.fate not in {CUT, ERROR_EVENT}:
            yield UNEXPECTED, "the stream was cut by the gateway"
        yield from _failed(record, 200)

    def _lost(self, seen: Seen, plan: Plan, record: Record | None) -> Findings:
        if not self._was_killed(seen):
            yield UNEXPECTED, "connection lost, and no worker was killed"

    def _left(self, seen: Seen, plan: Plan, record: Record | None) -> Findings:
        if record is None or record.outcome in {"cancelled", "completed"}:
            return
        is_excused = (
            plan.fate != GOOD
            or self._was_away(seen)
            or (record.error_type == "unknown" and self._was_killed(seen))
        )
        if not is_excused:
            yield WRONG, f"left, and recorded as {record.outcome} {record.error_type}"

    def _was_away(self, seen: Seen) -> bool:
        return any(
            began - _UNSURE <= seen.ended and seen.began <= ended + BACK_AGAIN
            for began, ended in self._evidence.outages
        )

    def _was_killed(self, seen: Seen) -> bool:
        return any(
            seen.began - _UNSURE <= kill <= seen.ended + _UNSURE
            for kill in self._evidence.kills
        )


def _failed(record: Record | None, status: int | None) -> Findings:
    told = record and (record.outcome, record.error_type, record.status)
    if told != ("failed", "server_error", status):
        yield WRONG, f"the record says {told}"

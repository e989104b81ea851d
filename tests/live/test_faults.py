"""Every fault of docs/faults.md, for each API, blocking and streaming.

A fault is a row of ``faults``; here is how a row is played and what is looked at.
"""

from __future__ import annotations

import builtins
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import anthropic
import openai
import pytest
from django.db.models import Sum

from interceptions.models import Interception
from providers.models import AiProvider, ApiKey
from proxy import dialects
from tests.answers import Answer
from tests.live.apis import APIS, MESSAGES, Api
from tests.live.callers import Case, OfficialSdks, Seen
from tests.live.conftest import database_url
from tests.live.faults import (
    CUT,
    ENVELOPE,
    FAULTS,
    PART,
    SAME,
    SOME,
    Expected,
    Fault,
)
from tests.live.gateway import Gateway
from tests.postgres import free_port
from tests.upstream import FakeUpstream

pytestmark = pytest.mark.live

DOCS = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
FIRST, NEXT = "key-a", "key-b"
Play = Callable[[Fault, Api, str, tuple[str, ...]], Case]


def rows(faults: list[Fault]) -> list:
    return [
        pytest.param(fault, api, mode, id=f"{fault.number}-{name}-{api.name}-{mode}")
        for fault in faults
        for name in [fault.name.replace(" ", "_")]
        for api in APIS
        for mode in fault.modes
    ]


@pytest.fixture(scope="module")
def impatient(live_database, data_dir, secrets_of_servers) -> Iterator[Gateway]:
    """Start a node whose heartbeat comes after 0.2 s of silence."""
    settings = secrets_of_servers | {"AIBRIDGE_HEARTBEAT_SECONDS": 0.2}
    url = database_url(live_database)
    with Gateway(url, data_dir, port=free_port(), **settings) as node:
        yield node


@pytest.fixture(scope="module")
def sdks() -> OfficialSdks:
    return OfficialSdks()


@pytest.fixture
def play(
    gateway, impatient, upstream: FakeUpstream, make_provider, wait_served, token
) -> Iterator[Play]:
    """Return a function that sets a fault up, with a provider that has those keys."""
    with ExitStack() as stack:

        def set_up(fault: Fault, api: Api, mode: str, keys: tuple[str, ...]) -> Case:
            _script(upstream, fault)
            base_url = stack.enter_context(fault.reach(upstream))
            kind = fault.kinds.get(api.name, api.kind)
            provider = make_provider(kind, keys, base_url=base_url, **fault.provider)
            node = gateway if fault.patient else impatient
            wait_served(node, provider)
            streaming = mode == "streaming"
            return Case(api, streaming, node.url, provider.name, token, upstream)

        yield set_up


def _script(upstream: FakeUpstream, fault: Fault) -> None:
    if fault.answer is not None:
        upstream.answer_with(fault.answer, key=FIRST)
    upstream.answer_with(fault.second or Answer(), key=NEXT)


@pytest.mark.parametrize(("fault", "api", "mode"), rows(FAULTS))
def test_fault_with_a_second_key(fault: Fault, api: Api, mode: str, play: Play):
    expected = fault.expect(api, mode)
    case = play(fault, api, mode, (FIRST, NEXT))
    seen = fault.caller(case)
    check_keys(case, expected, fault)
    rescued = expected.key != "valid" and fault.second is None
    if rescued:
        expected = Expected(attempt=expected.attempt, key=expected.key)
    for one in seen:
        check_client(one, expected, case)
    check_records(case, expected, count=len(seen))
    if fault.second is None:
        assert len(newest(case).attempts.all()) == 1 + rescued


@pytest.mark.parametrize(
    ("fault", "api", "mode"), rows([fault for fault in FAULTS if fault.is_for_sdks])
)
def test_fault_as_the_official_sdk_sees_it(
    fault: Fault, api: Api, mode: str, play: Play, sdks: OfficialSdks
):
    """With one key, so that nothing saves it; no short answer passes for a whole."""
    expected = fault.expect(api, mode)
    case = play(fault, api, mode, (FIRST,))
    if expected.sdk:
        with pytest.raises(exception(expected.sdk, api)) as caught:
            sdks.ask(case)
        check_status(caught.value, expected)
    else:
        assert sdks.ask(case) == expected.text
    check_records(case, expected, count=1)


def test_every_fault_is_played_and_explained():
    assert {fault.number for fault in FAULTS} == set(range(1, 41))
    text = DOCS.read_text()
    assert [f.name for f in FAULTS if f"| {f.number} | {f.name} |" not in text] == []


def exception(name: str, api: Api) -> type[BaseException]:
    if name == "JSONDecodeError":
        return json.JSONDecodeError
    vendor = anthropic if api is MESSAGES else openai
    return getattr(vendor, name, None) or getattr(builtins, name)


def check_status(error: BaseException, expected: Expected) -> None:
    if expected.status is None or expected.status < 400:
        return
    assert error.status_code == expected.status
    if expected.retry_after is not None:
        check_seconds(error.response.headers["retry-after"], expected.retry_after)


def check_client(seen: Seen, expected: Expected, case: Case) -> None:
    assert seen.status == expected.status, seen.content
    given = seen.headers.get("retry-after")
    assert (given is None) == (expected.retry_after is None), given
    if given is not None:
        check_seconds(given, expected.retry_after)
    content = without_heartbeats(seen.content, case, expected=expected.beats)
    sent = bytes(case.upstream.requests[-1].sent) if case.upstream.requests else b""
    BODIES[expected.body](content, sent, case)


def check_seconds(given: str, expected: float) -> None:
    assert expected - 5 <= int(given) <= expected + 1


def without_heartbeats(content: bytes, case: Case, *, expected: bool) -> bytes:
    beat = dialects.get(dialect_of(case)).heartbeat
    assert not expected or content.count(beat) >= 1
    return content.replace(beat, b"") if expected else content


def dialect_of(case: Case) -> str:
    return {
        "messages": "anthropic_messages",
        "chat": "openai_chat",
        "responses": "openai_responses",
    }[case.api.name]


def check_same(content: bytes, sent: bytes, case: Case) -> None:
    assert len(content) == len(sent)
    assert content == sent


def check_envelope(content: bytes, sent: bytes, case: Case) -> None:
    envelope = json.loads(content)
    error = envelope["error"]
    assert error["message"]
    assert error["type"]
    if case.api is MESSAGES:
        assert envelope["type"] == "error"
    else:
        assert {"code", "param"} <= set(error)


def check_cut(content: bytes, sent: bytes, case: Case) -> None:
    """Whole events of upstream's, then one error event, and nothing like an end."""
    passed = check_some(content, sent, case)
    assert passed == sent[: sent.rfind(b"\n\n") + 2]


def check_some(content: bytes, sent: bytes, case: Case) -> bytes:
    passed = os.path.commonprefix([content, sent])
    passed = passed[: passed.rfind(b"\n\n") + 2]
    assert passed or not sent
    last = content[len(passed) :]
    data = last.partition(b"data: ")[2].partition(b"\n\n")[0]
    assert json.loads(data)["error"]["message"]
    assert case.api.terminal not in last.replace(b"data: [DONE]", b"")
    return passed


def check_part(content: bytes, sent: bytes, case: Case) -> None:
    assert content == (sent if case.streaming else b"")


BODIES = {
    SAME: check_same,
    ENVELOPE: check_envelope,
    CUT: check_cut,
    SOME: check_some,
    PART: check_part,
}


def check_records(case: Case, expected: Expected, *, count: int) -> None:
    found = wait_until_ended(case, count)
    for row in found:
        check_record(row, expected)


def wait_until_ended(case: Case, count: int) -> list[Interception]:
    """Return the provider's interceptions once all have ended."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = list(Interception.objects.filter(provider_name=case.provider))
        assert len(found) <= count
        if len(found) == count and all(row.ended_at for row in found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"not {count} ended rows: {found}")


def newest(case: Case) -> Interception:
    return Interception.objects.filter(provider_name=case.provider).latest("id")


def check_record(row: Interception, expected: Expected) -> None:
    said = (row.error_type, row.error_message)
    assert row.error_type == expected.error_type, said
    assert (row.error_type is None) == (row.error_message is None)
    outcome = "failed" if expected.error_type else "completed"
    assert row.outcome == ("cancelled" if expected.cancelled else outcome), said
    if not expected.cancelled:
        assert row.status_code == expected.status
    assert row.prompts.get().prompt == "hi"
    first = row.attempts.order_by("position")[0]
    assert first.outcome == (expected.attempt or first.outcome)
    assert usage_of(row) == expected.usage
    assert (row.input_tokens, row.output_tokens) == (expected.usage or (0, 0))


def usage_of(row: Interception) -> tuple[int, int] | None:
    sums = row.token_usages.aggregate(Sum("input_tokens"), Sum("output_tokens"))
    if sums["input_tokens__sum"] is None:
        return None
    return sums["input_tokens__sum"], sums["output_tokens__sum"]


def check_keys(case: Case, expected: Expected, fault: Fault) -> None:
    """Marks are stored behind the request's back, within a second."""
    provider = AiProvider.objects.get(name=case.provider)
    others = "temporary" if fault.second else "valid"
    wanted = [expected.key, others]
    deadline = time.monotonic() + 3
    while (states := states_of(provider)) != wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    assert states == wanted
    if expected.cooldown is not None:
        until = provider.keys.get(position=first_position(provider)).cooldown_until
        left = (until - datetime.now(UTC)).total_seconds()
        assert expected.cooldown - 8 < left <= expected.cooldown + 1


def first_position(provider: AiProvider) -> int:
    return provider.keys.order_by("position")[0].position


def states_of(provider: AiProvider) -> list[str]:
    return [state_of(key) for key in provider.keys.order_by("position")]


def state_of(key: ApiKey) -> str:
    if key.retired_at is not None:
        return "permanent"
    return "temporary" if key.cooldown_until is not None else "valid"

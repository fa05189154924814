"""A request is one trace through all services, as a collector sees it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.collector import Seen, collecting, tree
from tests.support.drive import other_than
from tests.support.fleet import SERVICES
from tests.support.kafka import eventually
from tests.support.needles import Needles, secrets_in
from tests.support.rest import come_to_rest
from tests.support.stage import a_stage
from tests.support.watched import Watched

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from tests.support.collector import Collector
    from tests.support.people import Person
    from tests.support.stage import Stage

pytestmark = pytest.mark.servers

REQUESTED = "SELECT request_id FROM risk_evaluator.assessment WHERE user_id = $1 AND action = $2"
ROOT, ASSESS, DECIDE = "send access.requests.v1", "process access.requests.v1", "process access.assessments.v1"
TEXT, ANSWER = "process access.challenges.v1", "POST /v1/challenges/{id}/answers"
# A log-in with one wrong code and then the right one: who did what, below whom.
LOGIN = {
    "": [f"gateway: {ROOT}"],
    f"gateway: {ROOT}": ["gateway: obey decision", f"risk_evaluator: {ASSESS}"],
    f"risk_evaluator: {ASSESS}": ["risk_evaluator: send access.assessments.v1", f"verifier: {DECIDE}"],
    f"verifier: {DECIDE}": [
        f"notifier: {TEXT}",
        f"verifier: {ANSWER}",
        f"verifier: {ANSWER}",
        "verifier: send access.challenges.v1",
    ],
    f"notifier: {TEXT}": [
        "notifier: SNS/Publish",
        "notifier: send sms.deliveries.v1",
        "verifier: process sms.deliveries.v1",
    ],
    f"verifier: {ANSWER}": [
        "notifier: process access.decisions.v1",  # the notice of a log-in from a new computer
        "risk_evaluator: process access.decisions.v1",
        "verifier: send access.decisions.v1",
    ],
}
# An export after it, with its code at once.
EXPORT = {
    "": [f"exports: {ROOT}"],
    f"exports: {ROOT}": [f"risk_evaluator: {ASSESS}"],
    f"risk_evaluator: {ASSESS}": ["risk_evaluator: send access.assessments.v1", f"verifier: {DECIDE}"],
    f"verifier: {DECIDE}": [f"notifier: {TEXT}", f"verifier: {ANSWER}", "verifier: send access.challenges.v1"],
    f"notifier: {TEXT}": LOGIN[f"notifier: {TEXT}"],
    f"verifier: {ANSWER}": [
        "exports: process access.decisions.v1",
        "verifier: send access.decisions.v1",
    ],
}
KINDS = {"send": "producer", "process": "consumer", "SNS/Publish": "client", "POST": "server", "obey": "internal"}
SNS = ["aws-api", "SNS", "Publish"]
KAFKA = {
    "messaging.system",
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.destination.name",
    "messaging.destination.partition.id",
    "messaging.kafka.offset",
    "messaging.message.id",
}


@pytest.mark.timeout(300)
async def test_a_login_and_an_export_are_one_trace_each(tmp_path: Path) -> None:
    """Every hop has a span, no span lacks its parent, ids are there, and nothing secret is in any of them."""
    async with collecting() as collector, a_stage(tmp_path, over=_all_to(collector.url)) as stage:
        watched = Watched(stage, Needles())
        for held in stage.fleet.servers.secrets.values():
            watched.needles.add("secret", *secrets_in(held))
        person = await _log_in_and_export(watched)
        watched.needles.add("e-mail", f"{person.user_id}@example.com")
        await come_to_rest(stage.fleet.servers.kafka, stage.db)
        login, export = [await _request(stage, person, action) for action in ("login", "export")]
        await _whole(collector, login, LOGIN)
        await _whole(collector, export, EXPORT)
        for request_id in (login, export):
            spans = collector.of(request_id.hex)
            _check(spans, request_id, person)
        assert watched.needles.found({"spans": collector.body}) == {}
        assert watched.needles.found({"planted": collector.body + person.number}) == {"planted": {"number"}}
        assert Counter(span.span_id for span in collector.spans).most_common(1)[0][1] == 1
        lost = [
            line
            for text in (await stage.fleet.metrics()).values()
            for line in text.splitlines()
            if line.startswith("countersign_spans_dropped_total") and not line.endswith(" 0.0")
        ]
        assert lost == []


def _all_to(url: str) -> dict[str, dict[str, str]]:
    return {name: {"TRACES__ENDPOINT": url} for name in SERVICES}


async def _log_in_and_export(watched: Watched) -> Person:
    person = await watched.person("correct-horse-9W")
    async with watched.computer("10.61.0.1") as computer:
        page = await computer.give_password(person, "correct-horse-9W")
        code = await computer.read_text(person, 1)
        page = await computer.type_code(page, other_than(code))
        page = await computer.type_code(page, code)
        assert page.url.endswith("/"), page.url
        lists = await computer.get("/contacts")
        chosen = await computer.get(next(link for link in lists.links if "list=" in link))
        form = chosen.form_with("format")
        assert form is not None
        page = await computer.past_moment(await computer.submit(chosen, form))
        await computer.type_code(page, await computer.read_text(person, 2))
    return person


async def _request(stage: Stage, person: Person, action: str) -> UUID:
    request_id: UUID = await stage.db.fetchval(REQUESTED, person.user_id, action)
    return request_id


async def _whole(collector: Collector, request_id: UUID, expected: dict[str, list[str]]) -> None:
    """Wait until as many spans came as there should be, and compare."""

    async def came() -> bool:
        return len(collector.of(request_id.hex)) >= sum(map(len, expected.values()))

    try:
        await eventually(came, within=15)
    finally:
        assert tree(collector.of(request_id.hex)) == expected


def _check(spans: list[Seen], request_id: UUID, person: Person) -> None:
    (root,) = [span for span in spans if not span.parent]
    assert root.span_id == request_id.hex[16:]
    for span in spans:
        assert span.kind == KINDS[span.name.partition(" ")[0]], span
        assert not span.failed
        assert 0 <= span.seconds < 60
        assert span.attributes["countersign.user_id"] == str(person.user_id), span
        if span.kind in {"producer", "consumer"}:
            assert span.attributes.keys() >= KAFKA, span
            assert span.attributes["messaging.destination.name"] == span.name.partition(" ")[2]
        if span.kind == "server":
            assert (span.attributes["http.request.method"], span.attributes["http.route"]) == tuple(ANSWER.split())
        if span.kind == "client":
            assert [span.attributes[f"rpc.{one}"] for one in ("system", "service", "method")] == SNS
        if "sms.deliveries" not in span.name:  # the event names the challenge alone
            assert span.attributes["countersign.request_id"] == str(request_id), span
        if span.kind in {"client", "server"} or "sms.deliveries" in span.name or TEXT in span.name:
            assert "countersign.challenge_id" in span.attributes, span
    outcomes = Counter(str(span.attributes.get("countersign.outcome")) for span in spans)
    assert outcomes["accepted"] == 2, outcomes  # the text, and the code

"""Copies of a request with one thing changed: the first one stands, and nobody profits from the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from countersign.contract import req_of
from countersign.runtime.watching.metrics import Metrics
from tests.support.assessments import a_fold, asked_by, connected
from tests.support.evaluator import evaluating
from tests.support.events import a_client, a_summary, an_access_requested, outgoing
from tests.support.kafka import eventually, publish
from tests.support.members import a_member

if TYPE_CHECKING:
    from countersign.runtime.database.postgres import Connection as Db
    from tests.support.evaluator import Evaluator
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

COPIES: list[dict[str, Any]] = [
    {"client": a_client(ip="198.51.100.23")},
    {"client": a_client(locale="de")},
    {"summary": a_summary(what="Canteen menu", rows=1)},
    {"digest": "B" * 43},
]


@pytest.mark.parametrize("changed", COPIES)
async def test_a_changed_copy_is_a_conflict_whatever_was_changed(servers: Servers, changed: dict[str, Any]) -> None:
    """The assessment says which bytes it is of; the copy is a dead letter of its own kind."""
    async with evaluating(servers) as evaluator:
        member = await a_member(servers)
        request = an_access_requested(account_id=member.account_id, user_id=member.user_id, action="export")
        genuine, copy = outgoing(request), outgoing(request.model_copy(update=changed))
        await publish(servers.kafka, copy, genuine, copy, genuine)
        cause = await evaluator.dead_letter(member.account_id)
        assert cause.startswith("request_id: assessed before with another value")
        (assessed,) = await evaluator.assessments(request.request_id)
        assert assessed.req == req_of(copy.value), "the first one that came was judged"
        await _kinds(evaluator, member.account_id, ["conflict"])


async def test_two_copies_that_are_saved_at_once_are_a_conflict_too(servers: Servers, db: Db) -> None:
    """Two owners of partitions load before either saves: the one that loses finds out, and keeps the dead letter."""
    member = await a_member(servers)
    genuine = asked_by(member)
    copy = asked_by(member, request_id=genuine.event.request_id, client=a_client(ip="198.51.100.23"))
    metrics = Metrics()
    fold = a_fold(servers, metrics=metrics)
    async with connected(servers) as other:
        first, now = await fold.load(db, [copy])
        second, _ = await fold.load(other, [genuine])
        for connection, incoming, state in ((db, copy, first), (other, genuine, second)):
            answer = fold.decide(incoming, state, now)
            assert answer is not None
            await fold.save(connection, [answer], now)
    row = await db.fetchrow("SELECT * FROM assessment WHERE request_id = $1", genuine.event.request_id)
    assert row is not None
    assert row["req"] == req_of(copy.record.value or b"")
    assert row["disputed_at"] is not None
    kinds = await db.fetch("SELECT kind FROM dead_letter WHERE record_key = $1", str(member.account_id).encode())
    assert [one["kind"] for one in kinds] == ["conflict"]
    counted = metrics.registry.get_sample_value(
        "countersign_dead_letters_total", {"topic": fold.topic, "kind": "conflict", "source": "/countersign/test"}
    )
    assert counted == 1


async def test_a_disputed_login_teaches_no_place(servers: Servers) -> None:
    """A copy from the thief's address is judged, and the victim types the code: the thief's place stays unknown."""
    async with evaluating(servers) as evaluator:
        member = await a_member(servers)
        thief = a_client(ip="198.51.100.77")
        request = an_access_requested(account_id=member.account_id, user_id=member.user_id)
        await publish(servers.kafka, outgoing(request.model_copy(update={"client": thief})), outgoing(request))
        await evaluator.dead_letter(member.account_id)
        judged = await evaluator.assessment(request.request_id)
        assert judged.place == "198.51.100.77/32"
        await publish(servers.kafka, evaluator.granted(judged))
        # Decisions of one account are read in order: once this one has taught its place, the other was read.
        await evaluator.teach(await evaluator.ask(member))
        assert judged.place not in {row["place"] for row in await evaluator.places(member.account_id)}


async def _kinds(evaluator: Evaluator, account_id: object, expected: list[str]) -> None:
    async def kept() -> bool:
        rows = await evaluator.fetch("SELECT kind FROM dead_letter WHERE record_key = $1", str(account_id).encode())
        return sorted({row["kind"] for row in rows}) == expected

    await eventually(kept)

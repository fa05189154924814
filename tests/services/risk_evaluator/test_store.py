"""The folds on a real PostgreSQL: races, repetition and age, which no Kafka is needed for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from countersign.policy import PlaceRules
from countersign.runtime.folding.fold import absorb, rounds
from countersign.runtime.retention import apply
from services.risk_evaluator import retention
from services.risk_evaluator.places import ForgetPlaces
from services.risk_evaluator.store_places import LIVE
from tests.support.assessments import HOUR, PLACE, POLICY, a_fold, a_lesson, asked_by, connected, is_known, uses
from tests.support.events import a_places_forgotten, clock, incoming
from tests.support.members import a_member

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from countersign.contract import AccessRequested
    from countersign.runtime.database.postgres import Connection as Db
    from countersign.runtime.messages.record import Incoming
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

YEAR = timedelta(days=365)


async def test_two_owners_of_a_partition_assess_each_request_once(servers: Servers) -> None:
    """The same batch in opposite order, both past their load before either saves: no deadlock, one output each."""
    member = await a_member(servers)
    fold = a_fold(servers)
    for _ in range(5):
        batch = [asked_by(member) for _ in range(200)]
        both_decided = asyncio.Barrier(2)

        async def own(part: Sequence[Incoming[AccessRequested]], barrier: asyncio.Barrier) -> set[UUID]:
            async def wait(name: str) -> None:
                if name == "decided":
                    await barrier.wait()

            async with connected(servers) as connection:
                folded = await absorb(connection, fold, part, checkpoint=wait)
            assert not folded.dead
            assert not folded.suspects
            return {out.event_id for out in folded.due}

        async with asyncio.timeout(30):
            one, other = await asyncio.gather(own(batch, both_decided), own(batch[::-1], both_decided))
        assert len(one | other) == 200
        assert not one & other


async def test_the_same_request_twice_in_a_batch_is_assessed_once(servers: Servers, db: Db) -> None:
    """The second goes to the next round, and a conflict with the first is found there."""
    member = await a_member(servers)
    fold = a_fold(servers)
    once = asked_by(member)
    conflict = incoming(once.event.model_copy(update={"digest": "C" * 43}))
    parts = rounds(fold, [once, once, conflict, asked_by(member)])
    assert [len(part) for part in parts] == [2, 1, 1]
    folded = [await absorb(db, fold, part) for part in parts]
    assert [len(part.due) for part in folded] == [2, 0, 0]
    assert [letter.kind for part in folded for letter in part.dead] == ["conflict"]


async def test_reading_again_from_the_start_changes_nothing(servers: Servers, db: Db) -> None:
    """Requests, lessons and forgettings, in order and backwards: the same rows, and no output."""
    member = await a_member(servers)
    fold, forgetting = a_fold(servers), ForgetPlaces()
    requests = [asked_by(member) for _ in range(20)]
    start = clock() - timedelta(days=10)
    taught_by = member.user_id
    lessons = [
        a_lesson(account_id=member.account_id, taught_by=taught_by, granted_at=start + step * timedelta(minutes=25))
        for step in range(20)
    ]
    forgotten = [incoming(a_places_forgotten(account_id=member.account_id, place=PLACE), at=start - HOUR)]

    async def read_all(order: int) -> int:
        folded = await absorb(db, fold, requests[::order])
        for lesson in lessons[::order]:
            await LIVE.learn(db, [lesson])
        await absorb(db, forgetting, forgotten)
        return len(folded.due)

    async def rows() -> list[Any]:
        tables = ("assessment", "place", "forgotten")
        return [
            await db.fetch(f"SELECT * FROM {table} WHERE account_id = $1 ORDER BY 1, 2, 3", member.account_id)
            for table in tables
        ]

    assert await read_all(1) == 20
    before = await rows()
    assert [len(found) for found in before] == [20, 1, 1]
    for order in (1, -1):
        assert await read_all(order) == 0
        assert await rows() == before


async def test_the_policy_says_whose_places_count_and_for_how_long(servers: Servers, db: Db) -> None:
    """Account scope and user scope; idle for less than a day and for more; for ever."""
    owner = await a_member(servers)
    colleague = await a_member(servers, account_id=owner.account_id)
    daily, own_only, for_ever = (
        POLICY.model_copy(update={"places": PlaceRules.model_validate({"unusable": (), **rules})})
        for rules in ({"forget_after": "P1D"}, {"forget_after": "P1D", "scope": "user"}, {"forget_after": "P0D"})
    )
    lesson = a_lesson(account_id=owner.account_id, taught_by=owner.user_id, granted_at=clock() - timedelta(hours=25))
    await LIVE.learn(db, [lesson])
    assert not await is_known(servers, db, owner, daily)
    assert await is_known(servers, db, owner, for_ever)
    await LIVE.learn(db, [replace(lesson, granted_at=clock() - timedelta(hours=23))])
    assert await is_known(servers, db, owner, daily)
    assert await is_known(servers, db, colleague, daily)
    assert await is_known(servers, db, owner, own_only)
    assert not await is_known(servers, db, colleague, own_only)


async def test_a_place_ends_in_all_and_begins_anew_with_a_code(servers: Servers, db: Db) -> None:
    """However often it was used; grants from before, read again, change nothing of what began anew."""
    month = timedelta(days=30)
    member = await a_member(servers)
    monthly = POLICY.model_copy(
        update={"places": PlaceRules.model_validate({"unusable": (), "forget_after": "P0D", "life_max": "P30D"})}
    )
    now = clock()
    lesson = a_lesson(account_id=member.account_id, taught_by=member.user_id, granted_at=now - month)
    early = [lesson, replace(lesson, granted_at=now - timedelta(days=1))]
    for one in early:
        await LIVE.learn(db, [one], month)
    assert not await is_known(servers, db, member, monthly)
    await LIVE.learn(db, [replace(lesson, granted_at=now)], month)
    assert await is_known(servers, db, member, monthly)
    before = await uses(db, member.account_id)
    for one in early:
        await LIVE.learn(db, [one], month)
    assert await uses(db, member.account_id) == before


async def test_old_rows_are_swept(servers: Servers, db: Db) -> None:
    """Assessments after 40 days, places when they are idle for too long; 0 keeps them."""
    member = await a_member(servers)
    old, young = asked_by(member), asked_by(member)
    await absorb(db, a_fold(servers), [old, young])
    await db.execute(
        "UPDATE assessment SET assessed_at = now() - interval '41 days' WHERE request_id = $1", old.event.request_id
    )
    idle = a_lesson(granted_at=clock() - YEAR)
    await LIVE.learn(db, [idle])
    await apply(db, retention.rules(timedelta(0)))
    left = await db.fetch("SELECT request_id FROM assessment WHERE account_id = $1", member.account_id)
    assert [row["request_id"] for row in left] == [young.event.request_id]
    assert len(await uses(db, idle.account_id)) == 1
    await apply(db, retention.rules(YEAR))
    assert not await uses(db, idle.account_id)


@pytest.mark.parametrize("role", ["enrolment", "verifier", "notifier", "exports", "gateway"])
@pytest.mark.parametrize("table", ["assessment", "place", "forgotten", "outbox", "dead_letter", "known_place"])
async def test_nobody_else_reads_our_tables(servers: Servers, role: str, table: str) -> None:
    """Gateway and enrolment read the view of known places; they and the others, nothing else."""
    other = await asyncpg.connect(servers.dsn_of(role))
    try:
        if role in {"gateway", "enrolment"} and table == "known_place":
            await other.fetch("SELECT * FROM risk_evaluator.known_place LIMIT 1")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await other.execute("DELETE FROM risk_evaluator.known_place")
        else:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await other.fetch(f"SELECT * FROM risk_evaluator.{table} LIMIT 1")
    finally:
        await other.close()

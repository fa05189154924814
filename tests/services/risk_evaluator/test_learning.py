"""What the risk-evaluator learns and forgets, on a real PostgreSQL: races, repetition and age."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from countersign.runtime.folding.fold import absorb
from services.risk_evaluator.decide import is_noted
from services.risk_evaluator.model import Forgetting
from services.risk_evaluator.places import ForgetPlaces
from services.risk_evaluator.rebuild import tables as fresh
from services.risk_evaluator.store_places import LIVE, NO_END
from tests.support.assessments import HOUR, PLACE, a_fold, a_lesson, asked_by, assessment_of, connected, uses
from tests.support.events import a_places_forgotten, clock, incoming
from tests.support.members import a_member

if TYPE_CHECKING:
    from countersign.runtime.database.postgres import Connection as Db
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


async def test_a_place_is_written_at_most_hourly_and_its_first_use_is_the_least(db: Db) -> None:
    """First and last use are of the grants' times, in whatever order they come."""
    first = a_lesson(granted_at=clock() - timedelta(days=2))

    async def learned(at: datetime) -> tuple[datetime, datetime]:
        await LIVE.learn(db, [replace(first, granted_at=at)])
        (use,) = await uses(db, first.account_id)
        return use

    began = first.granted_at
    assert await learned(began) == (began, began)
    assert await learned(began + HOUR - timedelta(seconds=1)) == (began, began)
    assert await learned(began + HOUR) == (began, began + HOUR)
    assert await learned(began - HOUR) == (began - HOUR, began + HOUR)
    assert await learned(began) == (began - HOUR, began + HOUR)


async def test_lessons_of_one_place_in_one_batch_are_one_row(db: Db) -> None:
    """An upsert may not meet a row twice."""
    lesson = a_lesson()
    later = replace(lesson, granted_at=lesson.granted_at + timedelta(seconds=9))
    await LIVE.learn(db, [later, lesson, later])
    assert await uses(db, lesson.account_id) == [(lesson.granted_at, later.granted_at)]


async def test_what_was_forgotten_since_the_look_is_not_learned(servers: Servers, db: Db) -> None:
    """A learner looks without a lock: what it writes is judged by what is forgotten when it writes."""
    member = await a_member(servers)
    asked = asked_by(member)
    await absorb(db, a_fold(servers), [asked])
    assert (await assessment_of(db, asked)).forgotten_at is None
    forgetting = Forgetting(account_id=member.account_id, user_id=None, place=None, forgotten_at=clock())
    async with db.transaction():
        await LIVE.forget(db, [forgetting])
    for seconds, learned in ((0, False), (1, True)):
        at = forgetting.forgotten_at + timedelta(seconds=seconds)
        await LIVE.learn(db, [a_lesson(account_id=member.account_id, taught_by=member.user_id, granted_at=at)])
        assert bool(await uses(db, member.account_id)) is learned


async def test_a_forgetting_waits_for_who_is_learning(servers: Servers, db: Db) -> None:
    """A learner that began before and has not committed holds the forgetting up, so that it meets what was written."""
    member = await a_member(servers)
    lesson = a_lesson(account_id=member.account_id, taught_by=member.user_id, granted_at=clock() - timedelta(minutes=1))
    forgetting = Forgetting(account_id=member.account_id, user_id=None, place=None, forgotten_at=clock())

    async def forget() -> None:
        async with connected(servers) as other, other.transaction():
            await LIVE.forget(other, [forgetting])

    async with db.transaction():
        await LIVE.learn(db, [lesson])
        forgets = asyncio.ensure_future(forget())
        done, _ = await asyncio.wait([forgets], timeout=0.3)
        assert not done
    await asyncio.wait_for(forgets, 5)
    assert not await uses(db, member.account_id)


async def test_who_learns_while_places_are_forgotten_waits_and_sees_it(servers: Servers, db: Db) -> None:
    """A lesson that comes after the forgetting's look and before its commit finds out what was forgotten."""
    member = await a_member(servers)
    lesson = a_lesson(account_id=member.account_id, taught_by=member.user_id, granted_at=clock() - timedelta(minutes=1))
    forgetting = Forgetting(account_id=member.account_id, user_id=None, place=None, forgotten_at=clock())
    async with connected(servers) as learner:
        async with db.transaction():
            await LIVE.forget(db, [forgetting])
            learns = asyncio.ensure_future(LIVE.learn(learner, [lesson]))
            done, _ = await asyncio.wait([learns], timeout=0.3)
            assert not done
        await asyncio.wait_for(learns, 5)
    assert not await uses(db, member.account_id)


async def test_a_place_in_daily_use_is_only_looked_at(servers: Servers, db: Db) -> None:
    """Within the hour, and not before the first use, a grant has nothing to add; otherwise it has."""
    member = await a_member(servers)
    asked = asked_by(member)
    await absorb(db, a_fold(servers), [asked])
    used = clock() - timedelta(hours=2)
    assert not is_noted(await assessment_of(db, asked), used, NO_END)
    await LIVE.learn(db, [a_lesson(account_id=member.account_id, taught_by=member.user_id, granted_at=used)])
    assessed = await assessment_of(db, asked)
    for minutes, noted in ((-1, False), (0, False), (1, True), (59, True), (60, False)):
        assert is_noted(assessed, used + timedelta(minutes=minutes), NO_END) is noted


@pytest.mark.parametrize(
    ("user", "place", "remembered"),
    [
        (True, True, True),
        (True, None, True),
        (None, True, True),
        (None, None, True),
        (False, None, False),
        (None, False, False),
    ],
)
async def test_what_was_forgotten_is_remembered(
    servers: Servers, db: Db, user: bool | None, place: bool | None, remembered: bool
) -> None:
    """True: this user or place, False: another one, None: all."""
    member = await a_member(servers)
    asked = asked_by(member)
    await absorb(db, a_fold(servers), [asked])
    event = a_places_forgotten(
        account_id=member.account_id,
        user_id=None if user is None else member.user_id if user else uuid4(),
        place=None if place is None else PLACE if place else "203.0.113.8/32",
    )
    await absorb(db, ForgetPlaces(), [incoming(event)])
    assert ((await assessment_of(db, asked)).forgotten_at is not None) == remembered


async def test_who_waits_to_learn_writes_into_the_swapped_table(servers: Servers, db: Db) -> None:
    """A statement that was planned for the old table, and waits for its lock, is planned anew."""
    lesson = a_lesson()
    async with connected(servers) as learner, connected(servers) as swapper:
        await LIVE.learn(
            learner, [a_lesson(account_id=lesson.account_id, place="203.0.113.8/32")]
        )  # the statement is prepared
        async with swapper.transaction():
            await swapper.execute(fresh.LAY)
            await LIVE.hold_learners(swapper)
            await swapper.execute("INSERT INTO place_rebuilt SELECT * FROM place")
            learns = asyncio.ensure_future(LIVE.learn(learner, [lesson]))
            done, _ = await asyncio.wait([learns], timeout=0.5)
            assert not done
            await fresh.swap(swapper, None, keep_older=False)
        await asyncio.wait_for(learns, 10)
    found = await db.fetch("SELECT place FROM known_place WHERE account_id = $1", lesson.account_id)
    assert len(found) == 2
    assert await db.fetchval("SELECT count(*) FROM place_before_rebuild WHERE account_id = $1", lesson.account_id) == 1
    await db.execute("DROP TABLE place_before_rebuild")
    guards = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'place'::regclass AND tgname = 'only_unforgotten'"
    assert await db.fetchval(guards) == 1, "the swapped table looks once more at what was forgotten, too"

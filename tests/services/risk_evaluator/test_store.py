"""The folds on a real PostgreSQL: races, repetition and age, which no Kafka is needed for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter

from countersign.policy import PlaceRules, Policy
from countersign.runtime.fold import absorb, rounds
from countersign.runtime.keys import KeyRing, KeySettings
from services.risk_evaluator import store
from services.risk_evaluator.fold import AssessRequests
from services.risk_evaluator.model import Forgetting, Lesson
from services.risk_evaluator.places import ForgetPlaces
from tests.support.events import a_places_forgotten, an_access_requested, clock, incoming
from tests.support.members import Member, a_member

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from countersign.contract import AccessRequested
    from countersign.runtime.postgres import Connection as Db
    from countersign.runtime.record import Incoming
    from services.risk_evaluator.model import Assessed
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

POLICY = Policy(version="test", places=PlaceRules(unusable=()))
PLACE = "203.0.113.7/32"
HOUR = timedelta(hours=1)
YEAR = timedelta(days=365)


@asynccontextmanager
async def connected(servers: Servers) -> AsyncIterator[Db]:
    db = await asyncpg.connect(servers.dsn_of("risk_evaluator"))
    try:
        yield db
    finally:
        await db.close()


@pytest.fixture
async def db(servers: Servers) -> AsyncIterator[Db]:
    async with connected(servers) as connection:
        yield connection


def a_fold(servers: Servers, policy: Policy = POLICY) -> AssessRequests:
    keys = [KeySettings.model_validate(key) for key in servers.secrets["risk_evaluator"]["assessment_keys"]]
    counter = Counter("test", "test", ("action", "outcome"), registry=CollectorRegistry())
    return AssessRequests(policy, KeyRing("assessment_keys", keys), counter, structlog.get_logger())


def asked_by(member: Member, **over: Any) -> Incoming[AccessRequested]:
    return incoming(an_access_requested(account_id=member.account_id, user_id=member.user_id, **over))


def a_lesson(**over: Any) -> Lesson:
    fields: dict[str, Any] = {"account_id": uuid4(), "place": PLACE, "taught_by": uuid4(), "granted_at": clock()}
    return Lesson(**(fields | over))


async def is_known(servers: Servers, db: Db, member: Member, policy: Policy = POLICY) -> bool:
    asked = asked_by(member)
    state, _ = await a_fold(servers, policy).load(db, [asked])
    return state[asked.event.request_id].place_known


async def assessment_of(db: Db, asked: Incoming[AccessRequested]) -> Assessed:
    async with db.transaction():
        known, _ = await store.assessed(db, [asked.event.request_id])
    return known[asked.event.request_id]


async def uses(db: Db, account_id: UUID) -> list[tuple[datetime, datetime]]:
    rows = await db.fetch("SELECT * FROM known_place WHERE account_id = $1 ORDER BY place, taught_by", account_id)
    return [(row["first_used_at"], row["last_used_at"]) for row in rows]


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
    assert [letter.kind for part in folded for letter in part.dead] == ["off_contract"]


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
            await store.learn(db, [lesson])
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


async def test_a_place_is_written_at_most_hourly_and_its_first_use_is_the_least(db: Db) -> None:
    """First and last use are of the grants' times, in whatever order they come."""
    first = a_lesson(granted_at=clock() - timedelta(days=2))

    async def learned(at: datetime) -> tuple[datetime, datetime]:
        await store.learn(db, [replace(first, granted_at=at)])
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
    await store.learn(db, [later, lesson, later])
    assert await uses(db, lesson.account_id) == [(lesson.granted_at, later.granted_at)]


async def test_no_lesson_slips_past_a_forgetting(servers: Servers, db: Db) -> None:
    """A learner that has looked and not yet written holds the forgetting up, so that it meets what was written."""
    member = await a_member(servers)
    asked = asked_by(member)
    await absorb(db, a_fold(servers), [asked])
    lesson = a_lesson(account_id=member.account_id, taught_by=member.user_id, granted_at=clock() - timedelta(minutes=1))
    forgetting = Forgetting(account_id=member.account_id, user_id=None, place=None, forgotten_at=clock())

    async def forget() -> None:
        async with connected(servers) as other, other.transaction():
            await store.forget(other, [forgetting])

    async with db.transaction():
        known, _ = await store.assessed(db, [asked.event.request_id])
        assert known[asked.event.request_id].forgotten_at is None
        forgets = asyncio.ensure_future(forget())
        done, _ = await asyncio.wait([forgets], timeout=0.3)
        assert not done
        await store.learn(db, [lesson])
    await asyncio.wait_for(forgets, 5)
    assert not await uses(db, member.account_id)
    assert (await assessment_of(db, asked)).forgotten_at == forgetting.forgotten_at


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


async def test_the_policy_says_whose_places_count_and_for_how_long(servers: Servers, db: Db) -> None:
    """Account scope and user scope; idle for less than a day and for more; for ever."""
    owner = await a_member(servers)
    colleague = await a_member(servers, account_id=owner.account_id)
    daily, own_only, for_ever = (
        POLICY.model_copy(update={"places": PlaceRules.model_validate({"unusable": (), **rules})})
        for rules in ({"forget_after": "P1D"}, {"forget_after": "P1D", "scope": "user"}, {"forget_after": "P0D"})
    )
    lesson = a_lesson(account_id=owner.account_id, taught_by=owner.user_id, granted_at=clock() - timedelta(hours=25))
    await store.learn(db, [lesson])
    assert not await is_known(servers, db, owner, daily)
    assert await is_known(servers, db, owner, for_ever)
    await store.learn(db, [replace(lesson, granted_at=clock() - timedelta(hours=23))])
    assert await is_known(servers, db, owner, daily)
    assert await is_known(servers, db, colleague, daily)
    assert await is_known(servers, db, owner, own_only)
    assert not await is_known(servers, db, colleague, own_only)


async def test_old_rows_are_swept(servers: Servers, db: Db) -> None:
    """Assessments after 40 days, places when they are idle for too long; 0 keeps them."""
    member = await a_member(servers)
    old, young = asked_by(member), asked_by(member)
    await absorb(db, a_fold(servers), [old, young])
    await db.execute(
        "UPDATE assessment SET assessed_at = now() - interval '41 days' WHERE request_id = $1", old.event.request_id
    )
    idle = a_lesson(granted_at=clock() - YEAR)
    await store.learn(db, [idle])
    await store.sweep(db, forget_after=timedelta(0))
    left = await db.fetch("SELECT request_id FROM assessment WHERE account_id = $1", member.account_id)
    assert [row["request_id"] for row in left] == [young.event.request_id]
    assert len(await uses(db, idle.account_id)) == 1
    await store.sweep(db, forget_after=YEAR)
    assert not await uses(db, idle.account_id)


@pytest.mark.parametrize("role", ["enrolment", "verifier", "notifier", "exports", "gateway"])
@pytest.mark.parametrize("table", ["assessment", "place", "forgotten", "outbox", "dead_letter", "known_place"])
async def test_nobody_else_reads_our_tables(servers: Servers, role: str, table: str) -> None:
    """The gateway reads the view of known places; it and the others, nothing else."""
    other = await asyncpg.connect(servers.dsn_of(role))
    try:
        if (role, table) == ("gateway", "known_place"):
            await other.fetch("SELECT * FROM risk_evaluator.known_place LIMIT 1")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await other.execute("DELETE FROM risk_evaluator.known_place")
        else:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await other.fetch(f"SELECT * FROM risk_evaluator.{table} LIMIT 1")
    finally:
        await other.close()

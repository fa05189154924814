"""What is read is not locked: how many round trips that takes, and what happens if it changes before it is stored."""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest

from services.verifier import store_challenges
from services.verifier.challenges import Answered, Challenges, Sent, Waiting
from services.verifier.counters import FAILURES_FREE
from services.verifier.decide_assessment import OPEN_MAX
from services.verifier.store_challenges import READ_GOOD_FOR
from tests.support.kafka import eventually
from tests.support.verifier_parts import wired

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from uuid import UUID

    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers

WAITS = """
SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND application_name = 'countersign.verifier')
"""
COUNTED = """
SELECT f.failures, (SELECT sum(attempts)::integer FROM verifier.challenge c WHERE c.user_id = f.user_id) AS attempts,
       (SELECT count(*) FROM verifier.answer a JOIN verifier.challenge c USING (challenge_id)
         WHERE c.user_id = f.user_id AND NOT a.accepted
           AND a.judged_at > coalesce((SELECT max(g.judged_at) FROM verifier.answer g
                                         JOIN verifier.challenge o ON o.challenge_id = g.challenge_id
                                        WHERE o.user_id = f.user_id AND g.accepted), '-infinity')) AS wrong_since
  FROM verifier.counter f WHERE f.user_id = $1
"""


@pytest.fixture
async def sections(verifier: VerifierUnderTest) -> AsyncIterator[Challenges]:
    """Lend out what routes call, on 20 connections, with no door before it: many processes would race so."""
    async with wired(verifier.settings) as (_, challenges):
        yield challenges


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Awaitable[Any]], Awaitable[tuple[Any, int]]]:
    """Return what tells how many round trips something takes: each call of a connection is one."""
    mine: list[str] = []
    task: asyncio.Task[Any] | None = None

    def counted(call: Any) -> Any:
        @wraps(call)
        async def counting(connection: Any, query: str, *arguments: Any, **named: Any) -> Any:
            if asyncio.current_task() is task and query != "DISCARD PLANS":  # at most every 10 s
                mine.append(query)
            return await call(connection, query, *arguments, **named)

        return counting

    for name in ("execute", "executemany", "fetch", "fetchval", "fetchrow"):
        monkeypatch.setattr(asyncpg.Connection, name, counted(getattr(asyncpg.Connection, name)))

    async def count(work: Awaitable[Any]) -> tuple[Any, int]:
        nonlocal task
        task = asyncio.current_task()
        mine.clear()
        return await work, len(mine)

    return count


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def age_text(verifier: VerifierUnderTest, challenge_id: UUID) -> None:
    sql = "UPDATE verifier.send SET issued_at = issued_at - interval '31 s' WHERE challenge_id = $1"
    await verifier.db.execute(sql, challenge_id)


async def test_an_answer_takes_two_round_trips(
    verifier: VerifierUnderTest, sections: Challenges, asked: Callable[..., Awaitable[tuple[Any, int]]]
) -> None:
    """One reads and one stores, whatever the verdict; where nothing is stored it is one. Further texts are alike."""
    _, challenge_id = await verifier.challenged(await verifier.member())
    code = await verifier.code(challenge_id)
    await age_text(verifier, challenge_id)
    sent, trips = await asked(sections.resend(challenge_id))
    assert (isinstance(sent, Sent), trips) == (True, 2)
    later, trips = await asked(sections.resend(challenge_id))
    assert (isinstance(later, Waiting), trips) == (True, 1)
    answer_id = uuid4()
    for given, expected in ((wrong(code), ("wrong", 4)), (code, ("accepted", 3))):
        reply, trips = await asked(sections.answer(challenge_id, given, answer_id))
        assert ((reply.verdict, reply.tries_left), trips) == (expected, 2)
        again, trips = await asked(sections.answer(challenge_id, given, answer_id))
        assert (again, trips) == (reply, 1)
        answer_id = uuid4()
    over, trips = await asked(sections.answer(challenge_id, code, uuid4()))
    assert (over, trips) == (Answered("over", 0), 1)
    assert await asked(sections.answer(uuid4(), code, uuid4())) == (None, 1)


async def test_a_challenge_is_locked_before_the_counter_also_by_what_crowds_it_out(verifier: VerifierUnderTest) -> None:
    """Else an answer, which has the one and wants the other, and a fourth challenge would wait for each other."""
    member = await verifier.member()
    _, oldest = await verifier.challenged(member)
    for _ in range(OPEN_MAX - 1):
        await verifier.challenged(member)
    answering = await asyncpg.connect(verifier.servers.postgres_dsn)
    try:
        async with answering.transaction():
            await answering.execute("SELECT FROM verifier.challenge WHERE challenge_id = $1 FOR UPDATE", oldest)
            fourth = await verifier.assess(member)
            await eventually(lambda: verifier.db.fetchval(WAITS))
            sql = "SELECT FROM verifier.counter WHERE user_id = $1 FOR UPDATE NOWAIT"
            assert len(await answering.fetch(sql, member.user_id)) == 1
    finally:
        await answering.close()
    assert (await verifier.state(fourth.request_id, wait=10))["state"] == "challenged"


async def test_every_end_takes_two_round_trips(
    verifier: VerifierUnderTest, sections: Challenges, asked: Callable[..., Awaitable[tuple[Any, int]]]
) -> None:
    """Giving up, and an answer that comes after the number was replaced, close the challenge with its decision."""
    given_up, challenge_id = await verifier.challenged(await verifier.member())
    assert await asked(sections.cancel(challenge_id)) == (True, 2)
    assert await asked(sections.cancel(challenge_id)) == (True, 1)
    member = await verifier.member()
    replaced, challenge_id = await verifier.challenged(member)
    code = await verifier.code(challenge_id)
    await verifier.replace_number(member)
    assert await asked(sections.answer(challenge_id, code, uuid4())) == (Answered("over", 0), 2)
    reasons = [(await verifier.decision(event.request_id)).reason for event in (given_up, replaced)]
    assert reasons == ["cancelled", "number.replaced"]


@pytest.mark.parametrize(
    ("change", "tries_left"),
    [
        ("UPDATE verifier.challenge SET leased_until = now()", 4),
        ("UPDATE verifier.challenge SET attempts = attempts + 1", 3),
        ("UPDATE verifier.counter SET used_at = now()", 4),
        ("UPDATE verifier.counter SET failures = failures + 1", 4),
    ],
)
async def test_an_answer_waits_for_who_changes_its_rows(
    verifier: VerifierUnderTest, sections: Challenges, change: str, tries_left: int
) -> None:
    """It goes by the rows as they are then: what it does not depend on does not matter, the rest is read again."""
    member = await verifier.member()
    _, challenge_id = await verifier.challenged(member)
    code = await verifier.code(challenge_id)
    async with verifier.db.acquire() as db, db.transaction():
        await db.execute(f"{change} WHERE user_id = $1", member.user_id)
        answering = asyncio.ensure_future(sections.answer(challenge_id, code, uuid4()))

        async def waits() -> bool:
            return bool(await verifier.db.fetchval(WAITS))

        await eventually(waits)
    reply = await answering
    assert isinstance(reply, Answered)
    assert (reply.verdict, reply.tries_left) == ("accepted", tries_left)
    row = await verifier.db.fetchrow("SELECT * FROM verifier.challenge WHERE challenge_id = $1", challenge_id)
    assert (row["attempts"], row["closed_at"] is not None) == (5 - tries_left, True)


async def test_what_was_read_too_long_ago_is_read_again(
    verifier: VerifierUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped before it stored a right answer finds out that the number was replaced meanwhile."""
    monkeypatch.setattr(store_challenges, "READ_GOOD_FOR", READ_GOOD_FOR / 10)
    member = await verifier.member()
    event, challenge_id = await verifier.challenged(member)
    code = await verifier.code(challenge_id)
    points: list[str] = []

    async def stopped_once(point: str) -> None:
        points.append(point)
        if points.count("answer_read") == 1:
            await verifier.replace_number(member)
            await asyncio.sleep(READ_GOOD_FOR.total_seconds() / 10)

    async with wired(verifier.settings, checkpoint=stopped_once) as (_, challenges):
        assert await challenges.answer(challenge_id, code, uuid4()) == Answered("over", 0)
    assert points.count("answer_read") == 2
    assert (await verifier.decision(event.request_id)).reason == "number.replaced"


async def test_answers_to_many_challenges_of_a_user_are_counted_exactly(
    verifier: VerifierUnderTest, sections: Challenges
) -> None:
    """Sixty wrong codes for six challenges at once, on twenty connections: ten are judged, and each is counted."""
    member = await verifier.member()
    opened = [(await verifier.challenged(member, place=f"198.51.{n // 3}.7/32"))[1] for n in range(6)]
    codes = {await verifier.code(challenge_id) for challenge_id in opened}
    bad = next(code for code in (f"{n:06d}" for n in range(7)) if code not in codes)
    replies = await asyncio.gather(*(sections.answer(opened[n % 6], bad, uuid4()) for n in range(60)))
    assert sum(isinstance(reply, Answered) and reply.verdict == "wrong" for reply in replies) == FAILURES_FREE
    found = await verifier.db.fetchrow(COUNTED, member.user_id)
    assert (found["failures"], found["attempts"], found["wrong_since"]) == (FAILURES_FREE,) * 3


async def test_a_success_among_failures_clears_what_was_before_it(
    verifier: VerifierUnderTest, sections: Challenges
) -> None:
    """Wrong codes for two challenges and the right one for a third at once: the counter has those judged after it."""
    for _ in range(5):
        member = await verifier.member()
        opened = [(await verifier.challenged(member))[1] for _ in range(3)]
        codes = [await verifier.code(challenge_id) for challenge_id in opened]
        bad = next(code for code in (f"{n:06d}" for n in range(4)) if code not in codes)
        given = [(opened[n % 2], bad) for n in range(8)]
        given.insert(4, (opened[2], codes[2]))
        replies = await asyncio.gather(*(sections.answer(challenge_id, code, uuid4()) for challenge_id, code in given))
        verdicts = [reply.verdict for reply in replies if isinstance(reply, Answered)]
        assert (verdicts.count("wrong"), verdicts.count("accepted")) == (8, 1)
        found = await verifier.db.fetchrow(COUNTED, member.user_id)
        assert (found["attempts"], found["failures"]) == (9, found["wrong_since"])

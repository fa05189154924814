"""Known places made anew from the topics, on servers of its own: the topics hold only what this file put there."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from deploy.local.checkout import CHECKOUT
from deploy.local.postgres import OPERATOR
from tests.support.evaluator import evaluating
from tests.support.evaluator_settings import SERVICE, give_settings
from tests.support.events import a_client, a_places_forgotten, clock, outgoing
from tests.support.grants import KeySite, Signer
from tests.support.kafka import eventually, publish
from tests.support.known_places import countersign, delete_everything, learned, rebuilt, rows, tables
from tests.support.members import a_member
from tests.support.servers import own_servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.evaluator import Evaluator
    from tests.support.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]
DECISIONS = "access.decisions.v1"
SIGNER = Signer(key_id=f"grant-{uuid4().hex[:12]}")
DOING = ("--execute", "--reason", "a test", "--who", "ann@bastion")
PLANT = "INSERT INTO place VALUES ($1, '198.51.100.7/32', $2, now(), now())"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own() -> AsyncIterator[Servers]:
    async with own_servers() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def db(own: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Connection]:
    """Give the service's own program its settings, publish the grants' key, and lend a superuser's connection."""
    connection = await asyncpg.connect(own.postgres_dsn, server_settings={"search_path": SERVICE})
    async with KeySite(SIGNER.jwk()) as site:
        give_settings(monkeypatch, tmp_path, own, site.url)
        yield connection
    await connection.close()


async def test_after_normal_traffic_both_are_equal(
    own: Servers, db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Learned, learned again, forgotten, and learned anew; nothing is changed, and no table is left behind."""
    owner, stranger = await a_member(own, role="owner"), await a_member(own)
    async with evaluating(own, SIGNER) as evaluator:
        await learned(evaluator, owner, 1, 2, 3, 1)
        await learned(evaluator, stranger, 1)
        event = a_places_forgotten(account_id=owner.account_id, place="203.0.113.2/32")
        await publish(own.kafka, outgoing(event, at=clock() + timedelta(seconds=1)))

        async def forgotten() -> bool:
            return len(await evaluator.places(owner.account_id)) == 2

        await eventually(forgotten)
    before = await rows(db)
    assert len(before) == 3
    code, found = await rebuilt(capsys)
    assert (code, found["equal"], found["verdicts"], found["rows_now"]) == (0, True, {}, None)
    assert found["live"] == found["rebuilt"]
    assert found["live"]["rows"] == 3
    assert found["reaches_far_enough"]
    assert await rows(db) == before
    assert await tables(db) == set()
    assert await db.fetchval("SELECT count(*) FROM operation") == 0


async def test_a_missing_and_an_extra_row_are_found_and_mended(
    db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shown first; done with a reason, which is kept; the old table stays until the next rebuild."""
    good = await rows(db)
    stranger = uuid4()
    await db.execute("DELETE FROM place WHERE account_id = $1 AND place = $2", *good[0][:2])
    await db.execute("UPDATE place SET first_used_at = first_used_at - interval '1 day' WHERE place = $1", good[-1][1])
    await db.execute(PLANT, stranger, uuid4())
    bad = await rows(db)
    different = sum(row[1] == good[-1][1] for row in good[1:])
    assert await countersign() == 1
    shown = capsys.readouterr().out
    assert "1 rows are missing in the live table" in shown
    assert "1 live rows are not in the topics" in shown
    assert str(stranger) in shown
    assert "198.51.100" not in shown
    assert await countersign("--execute") == 2
    assert "why? Give a --reason" in capsys.readouterr().err
    assert await rows(db) == bad
    code, found = await rebuilt(capsys, *DOING)
    assert (code, found["verdicts"]) == (0, {"missing": 1, "extra": 1, "different": different})
    assert await rows(db) == good
    assert await tables(db) == {"place_before_rebuild"}
    assert await rows(db, "place_before_rebuild") == bad
    row = await db.fetchrow("SELECT command, who, reason, ended_at, outcome FROM operation")
    assert tuple(row)[:3] == ("rebuild known-places", "ann@bastion", "a test")
    assert json.loads(row["outcome"]) == {**found["verdicts"], "refused": None, "rows_now": len(good)}
    assert (await rebuilt(capsys))[1]["equal"]


async def test_the_swapped_table_is_as_the_first_one(
    own: Servers, db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its key, its indexes by name, its checks, its readers; twice in a row, and the service learns into it."""
    sql = """
    SELECT (SELECT array_agg(d ORDER BY d) FROM pg_index, pg_get_indexdef(indexrelid) d
             WHERE indrelid = c.oid) AS indexes,
           (SELECT array_agg(d ORDER BY d) FROM pg_constraint k, pg_get_constraintdef(k.oid) d
             WHERE conrelid = c.oid) AS checks,
           c.relowner::regrole::text AS owner, c.relacl::text AS rights,
           pg_get_viewdef('known_place'::regclass) AS view,
           (SELECT relacl::text FROM pg_class WHERE oid = 'known_place'::regclass) AS readers
      FROM pg_class c WHERE c.oid = 'place'::regclass
    """
    before = dict(await db.fetchrow(sql))
    for _ in range(2):
        assert (await rebuilt(capsys, *DOING))[0] == 0
    assert dict(await db.fetchrow(sql)) == before
    async with evaluating(own, SIGNER) as evaluator:
        member = await a_member(own)
        await learned(evaluator, member, 5)
        assert (await rebuilt(capsys, *DOING))[0] == 0
        await learned(evaluator, member, 6)
        assert (await evaluator.ask(member, client=a_client(ip="203.0.113.5"))).reasons == ["ip.known"]
    assert (await rebuilt(capsys))[1]["equal"]


@pytest.mark.usefixtures("db")
async def test_what_is_learned_while_it_is_swapped_is_not_lost(
    own: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log-ins go on under three rebuilds; each place of theirs is there at the end, and equal to the topics."""
    member = await a_member(own)
    stop = asyncio.Event()
    hosts: list[int] = []

    async def go_on(evaluator: Evaluator) -> None:
        while not stop.is_set():
            hosts.append(20 + len(hosts))
            await learned(evaluator, member, hosts[-1])

    async with evaluating(own, SIGNER) as evaluator:
        going = asyncio.ensure_future(go_on(evaluator))
        for _ in range(3):
            assert (await rebuilt(capsys, *DOING))[0] == 0
        stop.set()
        await going
        found = {row["place"] for row in await evaluator.places(member.account_id)}
    assert len(hosts) > 3
    assert found == {f"203.0.113.{host}/32" for host in hosts}
    assert (await rebuilt(capsys))[1]["equal"]


@pytest.mark.parametrize("point", ["laid", "read", "held", "compared", "swapped", "committed"])
async def test_killed_between_two_steps_it_leaves_a_whole_table(
    db: asyncpg.Connection, capsys: pytest.CaptureFixture[str], point: str
) -> None:
    """The live one until the commit, the fresh one from then on; and the next rebuild needs no hand."""
    good = await rows(db)
    await db.execute(PLANT, uuid4(), uuid4())
    bad = await rows(db)
    order = {"execute": True, "who": "ann@bastion", "reason": point}
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.support.rebuilding", point],
        input=json.dumps(order).encode(),
        capture_output=True,
        cwd=CHECKOUT,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr.decode()

    async def left() -> bool:
        sql = "SELECT count(*) FROM pg_locks WHERE relation = 'place'::regclass AND mode <> 'AccessShareLock'"
        return not await db.fetchval(sql)

    await eventually(left)
    assert await rows(db) == (good if point == "committed" else bad)
    row = await db.fetchrow("SELECT ended_at FROM operation WHERE reason = $1", point)
    assert (row is not None) == (point not in {"laid", "read"})
    assert row is None or (row["ended_at"] is not None) == (point == "committed")
    assert (await rebuilt(capsys, *DOING))[0] == 0
    assert await rows(db) == good


async def test_a_forgotten_place_does_not_come_back(
    own: Servers, db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forgotten by the topic though the table lost it, and by the table though the topic has lost it."""
    member = await a_member(own)
    async with evaluating(own, SIGNER) as evaluator:
        await learned(evaluator, member, 1, 2)
        event = a_places_forgotten(account_id=member.account_id, place="203.0.113.1/32")
        await publish(own.kafka, outgoing(event, at=clock() + timedelta(seconds=1)))

        async def forgotten() -> bool:
            return len(await evaluator.places(member.account_id)) == 1

        await eventually(forgotten)
    await db.execute("DELETE FROM forgotten WHERE account_id = $1", member.account_id)
    await db.execute(
        "INSERT INTO forgotten VALUES ($1, NULL, '203.0.113.2/32', now() + interval '1 s')", member.account_id
    )
    await db.execute("DELETE FROM place WHERE account_id = $1", member.account_id)
    code, found = await rebuilt(capsys, *DOING)
    assert (code, found["verdicts"]) == (0, {})
    assert not await db.fetchval("SELECT count(*) FROM place WHERE account_id = $1", member.account_id)
    assert await db.fetchval("SELECT count(*) FROM forgotten WHERE account_id = $1", member.account_id) == 2


async def test_the_operators_role_has_no_part_in_it(own: Servers, db: asyncpg.Connection) -> None:
    """The service's own role makes and swaps its tables; no other role reads the fresh or the old one."""
    assert "place_before_rebuild" in await tables(db)
    for role in (OPERATOR, "gateway", "enrolment", "verifier"):
        other = await asyncpg.connect(own.dsn_of(role))
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await other.execute("SELECT * FROM risk_evaluator.place_before_rebuild")
        finally:
            await other.close()


async def test_two_rebuilds_do_not_meet(db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    """The second one says so and ends."""
    await db.execute("SELECT pg_advisory_lock(hashtextextended('countersign.rebuild.known-places', 0))")
    assert await countersign() == 2
    assert "another rebuild of known places is at work" in capsys.readouterr().err
    await db.execute("SELECT pg_advisory_unlock_all()")


async def test_what_is_away_is_told_in_a_sentence(
    own: Servers, db: asyncpg.Connection, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka, the verifier's keys; exit code 2, no stack trace, and the live table is as it was."""
    async with evaluating(own, SIGNER) as evaluator:
        await learned(evaluator, await a_member(own), 9)  # a grant to be verified
    before = await rows(db)
    address = "COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS"
    with monkeypatch.context() as away:
        away.setenv("COUNTERSIGN_JWKS_URL", "http://127.0.0.1:9/jwks.json")
        assert await countersign(*DOING) == 2
        told = capsys.readouterr().err
        assert "cannot be reached" in told
        away.setenv(address, "127.0.0.1:9")
        assert await countersign(*DOING) == 2
        told += capsys.readouterr().err
        assert "Kafka at 127.0.0.1:9 does not answer" in told
    assert "Traceback" not in told
    assert await rows(db) == before


async def test_topics_that_do_not_reach_back_far_enough(
    own: Servers, db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so and refuses to swap, unless told what becomes of older rows. The last test: it deletes records."""
    early, late = await a_member(own), await a_member(own)
    async with evaluating(own, SIGNER) as evaluator:
        await learned(evaluator, early, 9)
        await delete_everything(own, DECISIONS)
        await learned(evaluator, late, 9)
        again = await a_member(own)
        for _ in range(12):  # a record in about each partition, so that the topic's start is one moment
            await learned(evaluator, again, 8)
            again = await a_member(own)
    before = await rows(db)
    code, found = await rebuilt(capsys, *DOING)
    assert (code, found["rows_now"], found["reaches_far_enough"]) == (1, None, False)
    assert found["refused"] == "the topics do not reach back as far as places count"
    assert found["verdicts"].get("older", 0) > 0
    assert await rows(db) == before
    assert await countersign() == 1 - found["equal"]
    assert "Say --older keep or --older drop." in capsys.readouterr().out
    code, found = await rebuilt(capsys, *DOING, "--older", "keep")
    assert code == 0
    assert await rows(db) == before
    code, found = await rebuilt(capsys, *DOING, "--older", "drop")
    assert code == 0
    assert early.account_id not in {row[0] for row in await rows(db)}
    assert late.account_id in {row[0] for row in await rows(db)}

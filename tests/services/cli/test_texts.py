"""Texts stopped at once by people on call, and let go again: on a real notifier, with SNS played by a stand-in."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from countersign import cli
from deploy.local.postgres import OPERATOR
from tests.support.events import a_two_factor_enabled, outgoing
from tests.support.kafka import eventually, publish
from tests.support.notifier import WITHIN, Neighbourhood, a_neighbourhood
from tests.support.sns_stand_in import Reply, SnsStandIn, sns_stand_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
DOING = ("--reason", "pumping", "--who", "ann@bastion", "--execute")


@pytest_asyncio.fixture(loop_scope="session")
async def sns() -> AsyncIterator[SnsStandIn]:
    async with sns_stand_in() as stand_in:
        yield stand_in


@pytest_asyncio.fixture(loop_scope="session")
async def near(servers: Servers, sns: SnsStandIn, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Neighbourhood]:
    """Name the servers as the operator sees them, with nothing stopped before or afterwards."""
    monkeypatch.setenv("OPERATOR_DSN", servers.dsn_of(OPERATOR))
    async with a_neighbourhood(servers, sns.url) as neighbourhood:
        await neighbourhood.db.execute("DELETE FROM notifier.pause; DELETE FROM notifier.operation")
        yield neighbourhood
        await neighbourhood.db.execute("DELETE FROM notifier.pause; DELETE FROM notifier.operation")


async def countersign(*arguments: str) -> int:
    """Run the command beside the test's own event loop."""
    return await asyncio.to_thread(cli.main, ["texts", *arguments])


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"scope"')]


async def test_texts_of_an_account_are_stopped_and_let_go_again(
    near: Neighbourhood, sns: SnsStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else is; it holds over a restart; both acts are kept with who and why."""
    stopped, other = await near.person(), await near.person()
    account = ("--account", str(stopped.account_id))
    first, second, third, fourth = (near.challenge(one) for one in (stopped, other, stopped, stopped))
    assert await countersign("pause", *account, *DOING) == 0
    async with near.notifier():
        await near.issue(first, second)
        rows = await near.settled(first, second)
    assert [(row["state"], row["reason"]) for row in rows] == [("suppressed", "paused"), ("accepted", None)]
    (told,) = await near.deliveries(first)
    assert (told["type"], told["reason"]) == ("countersign.sms.suppressed.v1", "paused")
    async with near.notifier():
        await near.issue(third)
        (row,) = await near.settled(third)
        assert (row["state"], row["reason"]) == ("suppressed", "paused")
        capsys.readouterr()
        assert await countersign("resume", *account, *DOING) == 0
        await near.issue(fourth)
        (row,) = await near.settled(fourth)
    assert row["state"] == "accepted"
    assert near.sent(sns, first, second, third, fourth) == sorted([second.code, fourth.code])
    kept = await near.db.fetch(
        "SELECT command, who, reason, planned, outcome FROM notifier.operation ORDER BY began_at"
    )
    assert [tuple(row)[:3] for row in kept] == [
        ("texts pause", "ann@bastion", "pumping"),
        ("texts resume", "ann@bastion", "pumping"),
    ]
    planned = {"country": None, "account_id": str(stopped.account_id)}
    assert [(json.loads(row["planned"]), json.loads(row["outcome"])) for row in kept] == [
        (planned, {"changed": True})
    ] * 2


async def test_texts_to_a_country_are_stopped(near: Neighbourhood, sns: SnsStandIn) -> None:
    """By the country of the number, not of the account."""
    account_id = uuid4()
    swede, australian = await near.person(account_id=account_id), await near.person(account_id=account_id, country="AU")
    challenges = [near.challenge(swede), near.challenge(australian)]
    assert await countersign("pause", "--country", "AU", *DOING) == 0
    async with near.notifier():
        await near.issue(*challenges)
        rows = await near.settled(*challenges)
    assert [(row["state"], row["reason"]) for row in rows] == [("accepted", None), ("suppressed", "paused")]
    assert near.sent(sns, *challenges) == [challenges[0].code]


async def test_what_waits_is_ended_and_not_sent_late(
    near: Neighbourhood, sns: SnsStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts that wait for a provider that takes nothing end as suppressed; when both are well again none leaves."""
    people = [await near.person() for _ in range(3)]
    waiting = [near.challenge(person) for person in people]
    sns.otherwise = Reply.AUTHORIZATION
    async with near.notifier():
        await near.issue(*waiting)

        async def all_wait() -> bool:
            rows = [await near.dispatch(challenge) for challenge in waiting]
            return all(row is not None and row["state"] == "due" for row in rows)

        await eventually(all_wait, within=WITHIN)
        capsys.readouterr()
        assert await countersign("pause", "--account", str(people[0].account_id)) == 0
        assert "1 wait or are about to leave" in capsys.readouterr().out
        assert await countersign("pause", "--json", *DOING) == 0
        (found,) = printed(capsys)
        assert found["done"]
        assert found["waiting"] >= 3
        rows = await near.settled(*waiting)
        assert {(row["state"], row["reason"]) for row in rows} == {("suppressed", "paused")}
        sns.otherwise = Reply.ACCEPTED
        before = len(sns.publishes)
        assert await countersign("resume", *DOING) == 0
        later = near.challenge(people[0])
        await near.issue(later)
        await near.settled(later, within=30)
    assert [text.code for text in sns.publishes[before:]] == [later.code]


async def test_a_text_that_was_claimed_already_does_not_leave(near: Neighbourhood, sns: SnsStandIn) -> None:
    """Two are in flight, and a third one is claimed and waits for its turn when all is stopped."""
    account_id = uuid4()
    people = [await near.person(account_id=account_id) for _ in range(3)]
    challenges = [near.challenge(person) for person in people]
    sns.seconds = 4.0
    held = near.servers.secrets["notifier"]["sns"]
    async with near.notifier(sns={**held, "endpoint_url": sns.url, "parallel_max": 2}):
        await near.issue(*challenges)

        async def claimed() -> bool:
            states = [await near.state(challenge) for challenge in challenges]
            return sns.in_flight == 2 and states.count("claimed") == 3

        await eventually(claimed, within=WITHIN)
        assert await countersign("pause", *DOING) == 0
        rows = await near.settled(*challenges, within=30)
    assert sorted(row["state"] for row in rows) == ["accepted", "accepted", "suppressed"]
    assert len(near.sent(sns, *challenges)) == 2


async def test_notices_are_stopped_too(near: Neighbourhood, sns: SnsStandIn) -> None:
    """What members should know goes by the same number and the same country."""
    person = await near.person()
    assert await countersign("pause", "--account", str(person.account_id), *DOING) == 0
    async with near.notifier():
        await publish(near.servers.kafka, outgoing(a_two_factor_enabled(account_id=person.account_id)))

        async def ended() -> bool:
            sql = "SELECT state, reason FROM notifier.notice WHERE account_id = $1 AND settled_at IS NOT NULL"
            rows = await near.db.fetch(sql, person.account_id)
            return [tuple(row) for row in rows] == [("suppressed", "paused")]

        await eventually(ended, within=WITHIN)
    assert [notice for notice in sns.notices if notice.number == person.number] == []


async def test_the_command_says_what_is_stopped_and_what_it_would_do(
    near: Neighbourhood, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing without a reason; twice is once; a pause of others is not ended by the way."""
    assert await countersign("status") == 0
    assert await countersign("pause", "--country", "SE") == 0
    assert "Nothing was done" in capsys.readouterr().out
    assert await countersign("pause", "--country", "SE", "--execute") == 2
    assert "why? Give a --reason" in capsys.readouterr().err
    assert await near.db.fetchval("SELECT count(*) FROM notifier.pause") == 0
    assert await countersign("pause", "--country", "SE", *DOING) == 0
    assert await countersign("pause", "--country", "SE", *DOING) == 1
    assert "stopped already" in capsys.readouterr().out
    assert await countersign("resume", *DOING) == 1
    assert "no pause is of just these" in capsys.readouterr().out
    assert await countersign("status", "--json") == 1
    (one,) = printed(capsys)
    assert (one["country"], one["account_id"], one["who"], one["reason"]) == ("SE", None, "ann@bastion", "pumping")
    assert await countersign("pause", "--country", "Sweden") == 2
    assert "expected two capital letters" in capsys.readouterr().err
    assert await countersign("pause", "--country", "SE", "--account", str(uuid4())) == 2
    assert "give one of them" in capsys.readouterr().err
    assert await countersign("status", "--dsn", "postgresql://nobody@127.0.0.1:9/none") == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM notifier.pause",
        "UPDATE notifier.pause SET country = 'SE'",
        "UPDATE notifier.pause SET since = now()",
        "INSERT INTO notifier.pause (pause_id, ended_at) VALUES (uuidv7(), now())",
        "SELECT number_id FROM notifier.dispatch",
        "SELECT sealed FROM enrolment.sealed_number",
    ],
)
async def test_the_operators_role_begins_and_ends_pauses_and_no_more(servers: Servers, statement: str) -> None:
    operator = await asyncpg.connect(servers.dsn_of(OPERATOR))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await operator.execute(statement)
    finally:
        await operator.close()

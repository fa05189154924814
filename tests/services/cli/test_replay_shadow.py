"""Another policy held against what was recorded: the numbers of a generator that knows none of our rules."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from countersign import cli
from countersign.contract import AccessRequested, reader
from countersign.runtime.errors import OffContractError
from tests.support.evaluator import evaluating
from tests.support.evaluator_settings import LOCAL, NO_JWKS, SERVICE, give_settings
from tests.support.events import (
    a_client,
    a_places_forgotten,
    an_access_requested,
    clock,
    outgoing,
)
from tests.support.kafka import eventually, publish, publish_raw, read_topic
from tests.support.members import a_member
from tests.support.wanderers import Wanderers
from tests.support.wandering import enrol, untouched, wander

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]
ACCOUNTS, ROUNDS = 500, 20
PRICE = 0.05


@pytest.fixture(autouse=True)
def around(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the service's own program its settings."""
    give_settings(monkeypatch, tmp_path, servers, NO_JWKS)


def a_policy(folder: Path, **places: str) -> str:
    """Return the path of the local stack's policy with other rules about places."""
    path = folder / "new.yaml"
    rules = "".join(f"\n  {name}: {value}" for name, value in places.items())
    path.write_text(
        LOCAL.read_text().replace("version: local-2", "version: new-1").replace("places:", f"places:{rules}")
    )
    return str(path)


async def countersign(*arguments: str) -> int:
    """Run the command beside the test's own event loop."""
    return await asyncio.to_thread(cli.main, ["replay", "shadow", *arguments])


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith('{"since"')]
    found: dict[str, Any] = json.loads(line)
    return found


def outcomes(found: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(change["old"], change["new"]): change["requests"] for change in found["changes"]}


@asynccontextmanager
async def superuser(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    db = await asyncpg.connect(servers.postgres_dsn, server_settings={"search_path": SERVICE})
    try:
        yield db
    finally:
        await db.close()


async def unfit(servers: Servers) -> int:
    """Return how many requests that nobody can read tests before have left."""
    parse, found = reader(AccessRequested), 0
    for record in await read_topic(servers.kafka, AccessRequested.topic):
        try:
            parse(record)
        except OffContractError:
            found += 1
    return found


async def test_a_wider_prefix_gives_the_generators_numbers(
    servers: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10,000 log-ins of people whose addresses change, /24 instead of /32; nothing is written, nothing is published."""
    people = Wanderers(ACCOUNTS, "shadow")
    await enrol(servers, people)
    unfit_before = await unfit(servers)
    since = clock()
    async with superuser(servers) as db:
        async with evaluating(servers) as evaluator:
            for number in range(ROUNDS):
                await wander(evaluator, db, people, number)
        before = await untouched(servers, db)
        capsys.readouterr()
        options = ("--policy", a_policy(tmp_path, prefix_v4="24"), "--since", since.isoformat(), "--price", str(PRICE))
        assert await countersign(*options, "--json") == 0
        found = printed(capsys)
        assert await untouched(servers, db) == before
    assert people.changes["challenge", "allow"] > 500
    assert people.changes["challenge", "challenge"] > 500
    assert outcomes(found) == dict(people.changes)
    assert found["requests"] == ACCOUNTS * ROUNDS
    for side, at in (("old", 0), ("new", 1)):
        challenges = sum(count for pair, count in people.changes.items() if pair[at] == "challenge")
        assert found[side]["challenges"] == challenges
        assert found[side]["challenge_rate"] == challenges / (ACCOUNTS * ROUNDS)
        assert found[side]["texts_a_day"] == pytest.approx(challenges / found["days"])
        assert found[side]["cost_a_day"] == pytest.approx(challenges / found["days"] * PRICE)
    exact = (
        "known_from_before_the_log",
        "undetermined",
        "numbers_assumed",
        "repeated",
        "disputed",
        "unjudged",
    )
    assert [found[name] for name in exact] == [0, 0, 0, 0, 0, 0]
    assert sum(found["unread"].values()) <= unfit_before  # others' records: each of ours is read
    assert {(one["old"], one["new"], *one["new_reasons"]) for one in found["examples"]} == {
        ("challenge", "allow", "ip.known")
    }
    assert await countersign(*options) == 0
    shown = capsys.readouterr().out
    assert f"{ACCOUNTS * ROUNDS:,} requests" in shown
    assert "•••/24" in shown
    assert not re.search(r"\b5\.\d+\.\d+\.\d+", shown), "addresses are masked"


async def test_a_narrower_policy_asks_more_often(
    servers: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A colleague's place counts for the account, and not under `scope: user`; a forgotten one counts for nobody."""
    since = clock()
    async with evaluating(servers) as evaluator:
        owner = await a_member(servers, role="owner")
        colleague = await a_member(servers, account_id=owner.account_id)
        await evaluator.teach(await evaluator.ask(owner))
        assert (await evaluator.ask(colleague)).outcome == "allow"
        assert (await evaluator.ask(owner)).outcome == "allow"
        forgotten = a_places_forgotten(account_id=owner.account_id, place="203.0.113.7/32")
        await publish(servers.kafka, outgoing(forgotten, at=clock()))

        async def gone() -> bool:
            return not await evaluator.places(owner.account_id)

        await eventually(gone)
        assert (await evaluator.ask(owner)).outcome == "challenge"
    policy = a_policy(tmp_path, scope="user")
    assert await countersign("--policy", policy, "--since", since.isoformat(), "--json") == 0
    found = printed(capsys)
    assert outcomes(found) == {("challenge", "challenge"): 2, ("allow", "challenge"): 1, ("allow", "allow"): 1}
    (example,) = [one for one in found["examples"] if one["new"] == "challenge"]
    assert (example["user_id"], example["old_reasons"], example["new_reasons"]) == (
        str(colleague.user_id),
        ["ip.known"],
        ["ip.new"],
    )


async def test_places_that_are_older_than_the_log_are_taken_from_what_was_judged(
    servers: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service knew the place and the log does not say since when; under a narrower prefix nobody can tell."""
    since = clock()
    member = await a_member(servers)
    async with superuser(servers) as db:
        await db.execute(
            "INSERT INTO place VALUES ($1, '203.0.113.7/32', $2, now() - interval '3 days', now() - interval '2 days')",
            member.account_id,
            member.user_id,
        )
    async with evaluating(servers) as evaluator:
        assert (await evaluator.ask(member)).outcome == "allow"
        assert (await evaluator.ask(member, client=a_client(ip="203.0.113.9"))).outcome == "challenge"
    assert (
        await countersign("--policy", a_policy(tmp_path, prefix_v4="24"), "--since", since.isoformat(), "--json") == 0
    )
    found = printed(capsys)
    assert outcomes(found) == {("allow", "allow"): 1, ("challenge", "allow"): 1}
    assert found["known_from_before_the_log"] == 1
    assert await countersign("--policy", a_policy(tmp_path, scope="user"), "--since", since.isoformat(), "--json") == 0
    found = printed(capsys)
    assert outcomes(found) == {("allow", "challenge"): 1, ("challenge", "challenge"): 1}
    assert found["undetermined"] == 1


async def test_what_cannot_be_judged_is_counted_and_left_out(
    servers: Servers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A repeated request counts once, one that nobody judged not at all; unreadable records stop nothing."""
    since = clock()
    async with evaluating(servers) as evaluator:
        member = await a_member(servers)
        event = an_access_requested(account_id=member.account_id, user_id=member.user_id)
        await publish(servers.kafka, outgoing(event), outgoing(event))
        await evaluator.assessment(event.request_id)
    await publish(servers.kafka, outgoing(an_access_requested()))
    good = outgoing(an_access_requested())
    await publish_raw(servers.kafka, good.topic, good.key, b'{"action": "fly"}', good.headers)
    options = ("--policy", a_policy(tmp_path), "--since", since.isoformat())
    assert await countersign(*options, "--json") == 0
    found = printed(capsys)
    assert (found["requests"], found["repeated"], found["unjudged"]) == (1, 1, 1)
    assert found["unread"]["access.requests.v1"] >= 1
    await evaluated(servers)
    assert await countersign("--policy", a_policy(tmp_path), "--since", "2001-01-01T00:00:00Z", "--until",
                             "2001-01-02T00:00:00Z") == 1  # fmt: skip


async def evaluated(servers: Servers) -> None:
    """Let a risk-evaluator take up what a test left, so that the next one begins with nothing."""
    async with evaluating(servers) as evaluator:
        member = await a_member(servers)
        await evaluator.ask(member)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("version: x\nplaces: {prefix_v4: 33}", "places.prefix_v4: Input should be less than or equal to 32"),
        ("version: x\nplaces: {prefix_v5: 1}", "places.prefix_v5: Extra inputs are not permitted"),
        ("version: [", "is not YAML"),
        (None, "No such file or directory"),
    ],
)
async def test_a_policy_that_is_not_right_is_told_as_the_service_tells_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, written: str | None, words: str
) -> None:
    """The same sentence as at its start, and exit code 2."""
    path = tmp_path / "new.yaml"
    if written is not None:
        path.write_text(written)
    assert await countersign("--policy", str(path)) == 2
    told = capsys.readouterr().err.removeprefix("countersign: ").strip()
    assert words in told
    monkeypatch.setenv("COUNTERSIGN_POLICY_FILE", str(path))
    from services.risk_evaluator.wiring import RiskEvaluatorSettings  # noqa: PLC0415 - beside its only use

    with pytest.raises(ValueError, match="policy_file") as refused:
        RiskEvaluatorSettings()
    assert told.splitlines()[0] in str(refused.value)


async def test_what_is_away_or_mistyped_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and no stack trace."""
    policy = a_policy(tmp_path)
    assert await countersign("--policy", policy, "--last", "soon") == 2
    assert "expected a number and s, m, h or d" in capsys.readouterr().err
    assert await countersign("--policy", policy, "--last", "1h", "--since", "2026-01-01T00:00:00Z") == 2
    assert "give one of them" in capsys.readouterr().err
    monkeypatch.setenv("COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:9")
    assert await countersign("--policy", policy) == 2
    told = capsys.readouterr().err
    assert "Kafka at 127.0.0.1:9 does not answer" in told
    monkeypatch.setenv("COUNTERSIGN_POSTGRES__DSN", "postgresql://nobody@127.0.0.1:9/none")
    assert await countersign("--policy", policy) == 2
    told += capsys.readouterr().err
    assert "risk_evaluator: PostgreSQL does not answer" in told
    assert "Traceback" not in told

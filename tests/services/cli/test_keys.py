"""Keys rotated and revoked by command, beside a verifier and a notifier that are at work."""

from __future__ import annotations

import asyncio
import json
import stat
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from countersign.contract import challenge_id_of
from countersign.operations.installation import scram
from countersign.runtime.keys import WAITS
from deploy.local.postgres import OPERATOR
from tests.support.kafka import eventually, read_topic
from tests.support.key_desk import HOLDERS, KeyDesk, a_key_desk
from tests.support.servers import own_servers
from tests.support.sns_stand_in import sns_stand_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from uuid import UUID

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
DOING = ("--reason", "yearly", "--who", "ann@bastion", "--execute")
SOON = ("--active-in", "1s", "--within", "20s")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def apart() -> AsyncIterator[Servers]:
    """Servers of its own: no other test's notifier could open what is sealed here with new keys."""
    async with own_servers() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def desk(
    apart: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[KeyDesk]:
    async with sns_stand_in() as sns, a_key_desk(apart, sns, tmp_path, monkeypatch, capsys) as found:
        yield found
        kept = [str(dict(row)) for row in await found.operations()]
        metrics = list((await found.fleet.metrics()).values())
        for secret in found.drawn:  # the search finds what is there
            assert found.leaks(f"before {secret} after") == [secret]
        assert found.leaks(*kept, *metrics, *found.fleet.logs().values()) == []


async def sealed_with(desk: KeyDesk, challenge_id: UUID) -> str:
    """Return the key id that a challenge's text was sealed with."""
    found = ""
    for record in await read_topic(desk.near.servers.kafka, "access.challenges.v1"):
        issued = json.loads(record.value or b"{}")
        if issued["challenge_id"] == str(challenge_id):
            found = issued["key_id"]
    return found


async def active(desk: KeyDesk, key_id: str) -> None:
    """Wait until a key's time has come, by the database."""
    begins = datetime.fromisoformat(desk.ring("verifier")[key_id]["active_from"])

    async def has_begun() -> bool:
        return bool(await desk.near.db.fetchval("SELECT clock_timestamp() > $1", begins))

    await eventually(has_begun, within=15)


async def test_codes_sealed_before_and_after_a_rotation_are_good(desk: KeyDesk) -> None:
    """And the old key stays until no open challenge needs it, then goes, and people still get in."""
    people = [await desk.near.person() for _ in range(3)]
    before = challenge_id_of(await desk.challenged(people[0]))
    (old,) = desk.ring("verifier")
    as_it_was = desk.files()
    assert await desk.countersign("rotate", "codes", *desk.instances()) == 0
    assert desk.said[-1].endswith("Nothing was done: add --reason and --execute.\n")
    assert desk.files() == as_it_was
    assert await desk.countersign("rotate", "codes", *desk.instances(), *SOON, *DOING) == 0
    assert "Every instance knows it" in desk.said[-1]
    (new,) = desk.ring("verifier").keys() - {old}
    assert desk.ring("verifier") == desk.ring("notifier")
    assert {stat.S_IMODE((desk.folder / f"{name}.json").stat().st_mode) for name in HOLDERS} == {0o600}
    await active(desk, new)
    after = challenge_id_of(await desk.challenged(people[1]))
    codes = [await desk.code_of(person) for person in people[:2]]
    assert [await sealed_with(desk, one) for one in (before, after)] == [old, new]

    in_both = desk.files()
    for arguments in ((), DOING):
        assert await desk.countersign("revoke", "codes", old, *arguments) == 1
        assert "open challenges may have a code sealed with it, until" in desk.said[-1]
    assert desk.files() == in_both
    assert [await desk.answered(one, code) for one, code in zip((before, after), codes, strict=True)] == [
        "accepted"
    ] * 2

    async def nothing_needs_it() -> bool:
        return await desk.countersign("revoke", "codes", old) == 0

    await eventually(nothing_needs_it, within=20)
    assert desk.files() == in_both
    assert await desk.countersign("revoke", "codes", old, *DOING) == 0
    assert [set(desk.ring(name)) for name in HOLDERS] == [{new}] * 2
    for shown in (await desk.fleet.metrics()).values():
        assert f'key_id="{new}"' in shown
        assert f'key_id="{old}"' not in shown
    last = challenge_id_of(await desk.challenged(people[2]))
    assert await desk.answered(last, await desk.code_of(people[2])) == "accepted"
    kept = [tuple(row)[:3] for row in await desk.operations()]
    assert kept == [("keys rotate", "ann@bastion", "yearly"), ("keys revoke", "ann@bastion", "yearly")]
    assert all(json.loads(row["outcome"]) for row in await desk.operations())


async def test_the_operator_sees_which_grants_are_good_and_no_grant(desk: KeyDesk) -> None:
    """By the key that signed them; a key of grants that is not in use is retired, and then stays published."""
    person = await desk.near.person()
    challenge_id = challenge_id_of(await desk.challenged(person))
    assert await desk.answered(challenge_id, await desk.code_of(person)) == "accepted"
    (signing,) = desk.ring("verifier", "grant_keys")
    operator = await asyncpg.connect(desk.near.servers.dsn_of(OPERATOR))
    try:
        rows = await operator.fetch("SELECT * FROM verifier.live_grant")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await operator.fetch("SELECT grant_jws FROM verifier.decision")
    finally:
        await operator.close()
    assert {(row["key_id"], len(row)) for row in rows} == {(signing, 2)}
    assert await desk.countersign("revoke", "grants", signing, *DOING) == 2
    assert "run `countersign keys rotate grants` first" in desk.said[-1]
    content = json.loads((desk.folder / "verifier.json").read_bytes())
    former = {**content["grant_keys"][0], "key_id": "grant-before", "active_from": "2025-01-01T00:00:00Z"}
    (desk.folder / "verifier.json").write_text(json.dumps({**content, "grant_keys": [*content["grant_keys"], former]}))
    assert await desk.countersign("revoke", "grants", "grant-before", *DOING) == 0
    retired = desk.ring("verifier", "grant_keys")["grant-before"]["retired_at"]
    async with desk.http.get(f"{desk.fleet.url('verifier')}/.well-known/jwks.json") as reply:
        published = {key["kid"]: key["retired_at"] for key in (await reply.json())["keys"]}
    assert published.keys() == {signing, "grant-before"}
    assert datetime.fromisoformat(published["grant-before"]) == datetime.fromisoformat(retired)
    assert await desk.countersign("revoke", "grants", "grant-before", *DOING) == 1
    assert "key set (JWKS) has to publish it, until" in desk.said[-1]
    forced = ("revoke", "grants", "grant-before", *DOING, "--force")
    assert await desk.countersign(*forced, "grant-other") == 2
    assert set(desk.ring("verifier", "grant_keys")) == {signing, "grant-before"}
    assert await desk.countersign(*forced, "grant-before") == 0
    assert set(desk.ring("verifier", "grant_keys")) == {signing}


async def test_a_key_waits_until_every_instance_knows_it(desk: KeyDesk) -> None:
    """One that is away, or that nobody named, keeps it from being used, for however long; then it goes on with it."""
    (old,) = desk.ring("verifier")
    await desk.fleet.end("notifier")
    for instances in (desk.instances(), desk.instances()[:2]):
        quick = ("--active-in", "1s", "--within", "1s")
        assert await desk.countersign("rotate", "codes", *instances, *quick, *DOING) == 1
        assert "notifier" in desk.said[-1]
        assert "and waits: it is not used" in desk.said[-1]
        (waiting,) = desk.ring("verifier").keys() - {old}
        assert {desk.ring(name)[waiting]["active_from"] for name in HOLDERS} == {WAITS.isoformat()}
    assert await desk.countersign("list", "--ring", "codes", *desk.instances(), "--json") == 1
    states = {one["key_id"]: one["state"] for one in map(json.loads, desk.said[-1].splitlines())}
    assert states == {old: "current", waiting: "waiting"}
    await desk.fleet.start("notifier")
    assert await desk.countersign("rotate", "codes", *desk.instances(), *SOON, *DOING) == 0
    assert [set(desk.ring(name)) for name in HOLDERS] == [{old, waiting}] * 2
    await active(desk, waiting)
    assert await desk.countersign("list", "--ring", "codes", *desk.instances(), "--json") == 0
    states = {one["key_id"]: one["state"] for one in map(json.loads, desk.said[-1].splitlines())}
    assert states == {old: "former", waiting: "current"}
    assert await desk.countersign("rotate", "codes", *desk.instances(), *DOING) == 1
    assert "Give --again" in desk.said[-1]


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_a_rotation_killed_between_two_files_is_gone_on_with(desk: KeyDesk, after: int) -> None:
    """While it installs, in between, and while it sets the time; no second key is drawn, and codes arrive."""
    (old,) = desk.ring("verifier")
    arguments = ("rotate", "codes", *desk.instances(), *SOON, *DOING)
    assert await desk.countersign_dies(after, *arguments) == -9
    assert (desk.ring("verifier") == desk.ring("notifier")) == (after == 2)
    assert await desk.countersign(*arguments) == 0
    (new,) = desk.ring("verifier").keys() - {old}
    assert desk.ring("verifier") == desk.ring("notifier")
    await active(desk, new)
    person = await desk.near.person()
    challenge_id = challenge_id_of(await desk.challenged(person))
    code = await desk.code_of(person)
    assert await sealed_with(desk, challenge_id) == new
    assert await desk.answered(challenge_id, code) == "accepted"

    async def nothing_needs_it() -> bool:
        return await desk.countersign("revoke", "codes", old) == 0

    await eventually(nothing_needs_it, within=20)
    assert await desk.countersign_dies(1, "revoke", "codes", old, *DOING) == -9
    assert sorted(len(desk.ring(name)) for name in HOLDERS) == [1, 2]
    assert await desk.countersign("revoke", "codes", old, *DOING) == 0
    assert [set(desk.ring(name)) for name in HOLDERS] == [{new}] * 2
    assert await desk.countersign("revoke", "codes", old, *DOING) == 1


async def test_a_key_of_numbers_stays_while_a_number_is_sealed_with_it(desk: KeyDesk) -> None:
    """`rekey` is named; once no number is, it goes."""
    (current,) = desk.ring("enrolment", "number_keys")
    for name in ("enrolment", "notifier"):
        content = json.loads((desk.folder / f"{name}.json").read_bytes())
        before = {**content["number_keys"][0], "key_id": "number-before", "active_from": "2025-01-01T00:00:00Z"}
        content["number_keys"].append(before)
        (desk.folder / f"{name}.json").write_text(json.dumps(content))
    person = await desk.near.person(key_id="number-before")
    assert await desk.countersign("revoke", "numbers", "number-before", *DOING) == 1
    assert "1 numbers are sealed with it: run `python -m services.enrolment rekey`" in desk.said[-1]
    await desk.near.db.execute(
        "UPDATE enrolment.phone_number SET key_id = $1 WHERE number_id = $2", current, person.number_id
    )
    assert await desk.countersign("revoke", "numbers", "number-before", *DOING) == 0
    assert [set(desk.ring(name, "number_keys")) for name in ("enrolment", "notifier")] == [{current}] * 2


async def test_what_keeps_it_from_its_work_is_a_sentence(desk: KeyDesk) -> None:
    """Files that do not agree, that are no JSON, that are away; a dead database; another command at work."""
    notifier = desk.folder / "notifier.json"
    whole = json.loads(notifier.read_bytes())
    key = whole["code_keys"][0]
    other = {**key, "secret": whole["number_keys"][0]["secret"]}
    for content, told in (
        (json.dumps({**whole, "code_keys": [other]}), f"the key {key['key_id']} is not the same"),
        (json.dumps({**whole, "code_keys": [{**key, "secret": "short"}]}), "code_keys: secret"),
        ("{", "expected JSON"),
    ):
        notifier.write_text(content)
        for command in (("rotate", "codes", *DOING), ("revoke", "codes", key["key_id"], *DOING), ("list",)):
            assert await desk.countersign_dies(99, *command) == 2
            assert told in desk.said[-1]
            assert "Traceback" not in desk.said[-1]
    notifier.write_text(json.dumps(whole))
    elsewhere = ("rotate", "codes", "--dsn", "postgresql://nobody@127.0.0.1:1/none")
    assert await desk.countersign(*elsewhere) == 2
    assert "PostgreSQL does not answer" in desk.said[-1]
    for wrong in ("verifier", "nobody=http://127.0.0.1:1", "verifier=ftp://127.0.0.1"):
        assert await desk.countersign("rotate", "codes", "--instance", wrong) == 2
        assert "expected SERVICE=URL" in desk.said[-1]
    assert await desk.countersign("rotate", "grants", "--active-in", "9m") == 2
    assert "at least 10m" in desk.said[-1]
    away = "verifier=http://127.0.0.1:1"
    working = asyncio.create_task(  # noqa: TID251 - two commands at once
        desk.countersign_dies(99, "rotate", "codes", "--instance", away, "--within", "5s", *DOING)
    )

    async def is_installed() -> bool:
        return len(desk.ring("notifier")) == 2

    await eventually(is_installed, within=30)
    assert await desk.countersign("rotate", "codes", *DOING) == 2
    assert "another `countersign keys` is at work" in desk.said[-1]
    assert await working == 1


async def test_postgres_takes_the_passwords_of_a_new_installation(apart: Servers) -> None:
    """As `secrets new` writes them for it: whoever has the password gets in, and nobody else."""
    superuser = await asyncpg.connect(apart.postgres_dsn)
    try:
        await superuser.execute(f"CREATE ROLE newcomer LOGIN PASSWORD '{scram('right-password')}'")
        await superuser.execute("GRANT CONNECT ON DATABASE countersign TO newcomer")
    finally:
        await superuser.close()
    where = apart.postgres_dsn.rpartition("@")[2]
    newcomer = await asyncpg.connect(f"postgresql://newcomer:right-password@{where}")
    assert await newcomer.fetchval("SELECT current_user") == "newcomer"
    await newcomer.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://newcomer:wrong-password@{where}")

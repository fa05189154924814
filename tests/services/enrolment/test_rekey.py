"""`rekey` on real servers: every number under the current key, each still its user's, beside a service at work."""

from __future__ import annotations

import asyncio
import base64
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from countersign.contract.number import NONCE_BYTES, open_number, parse_number, seal_number
from countersign.runtime.database.postgres import open_pool
from services.enrolment import rekey
from tests.support.enrolment import settings_of
from tests.support.events import clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.database.postgres import Pool
    from services.enrolment.settings import EnrolmentSettings
    from tests.support.enrolment import Desk
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)
OLD_ID, NEW_ID = f"old-{secrets.token_hex(4)}", f"new-{secrets.token_hex(4)}"
NUMBER = "+61491570006"
ERASE = """
UPDATE phone_number SET state = 'replaced', ended_at = now(), sealed = NULL, fingerprint = NULL WHERE number_id = $1
"""


def keys(*named: tuple[str, bytes, timedelta]) -> list[dict[str, Any]]:
    """Return a ring as the secrets file holds it; each key with how long ago its time began."""
    return [
        {"key_id": key_id, "secret": base64.b64encode(secret).decode(), "active_from": (clock() - ago).isoformat()}
        for key_id, secret, ago in named
    ]


@pytest.fixture
def settings(servers: Servers) -> EnrolmentSettings:
    """Return a ring of two keys, the younger one active, beside the key that other tests seal with."""
    held = servers.secrets["enrolment"]["number_keys"]
    mine = keys((OLD_ID, OLD, timedelta(days=9)), (NEW_ID, NEW, timedelta(minutes=1)))
    return settings_of(servers, number_keys=[*held, *mine])


@pytest_asyncio.fixture
async def pool(servers: Servers) -> AsyncIterator[Pool]:
    """Lend a pool; at the end other tests' numbers are under their own key again."""
    found = await open_pool(servers.dsn_of("enrolment"), "enrolment")
    yield found
    mine = keys((OLD_ID, OLD, timedelta(days=99_999)), (NEW_ID, NEW, timedelta(days=99_998)))
    await rekey.rekey(found, settings_of(servers, number_keys=[*servers.secrets["enrolment"]["number_keys"], *mine]))
    await found.close()


async def add(desk: Desk, user_id: UUID, *, secret: bytes = OLD, key_id: str = OLD_ID) -> UUID:
    """Give a user a number under a key."""
    number_id = await desk.add_number(user_id)
    sealed = seal_number(secret, secrets.token_bytes(NONCE_BYTES), parse_number(NUMBER), user_id)
    await desk.db.execute(
        "UPDATE phone_number SET sealed = $2, key_id = $3 WHERE number_id = $1", number_id, sealed, key_id
    )
    return number_id


async def ask(desk: Desk, account_id: UUID, user_id: UUID, member_id: UUID | None) -> UUID:
    """Keep a number with a request, sealed for the member that it is for."""
    request_id = uuid4()
    sealed = seal_number(OLD, secrets.token_bytes(NONCE_BYTES), parse_number(NUMBER), member_id or user_id)
    await desk.db.execute(
        "INSERT INTO request (request_id, account_id, user_id, action, digest, member_id, new_number_id, new_sealed, "
        "new_key_id, new_fingerprint, new_country, new_hint, opened_at) "
        "VALUES ($1, $2, $3, 'change_number', 'd', $4, $5, $6, $7, 'f', 'AU', 'h', now())",
        request_id,
        account_id,
        user_id,
        member_id,
        uuid4(),
        sealed,
        OLD_ID,
    )
    return request_id


async def test_every_number_comes_under_the_current_key_and_stays_its_users(
    desk: Desk, pool: Pool, settings: EnrolmentSettings, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """In several batches, with those of open requests; a second run finds nothing."""
    monkeypatch.setattr(rekey, "BATCH", 2)
    account_id, owner_id = await desk.account()
    users = [owner_id]
    numbers = {await add(desk, owner_id): owner_id}
    for _ in range(4):
        _, other = await desk.account()
        users.append(other)
        numbers[await add(desk, other)] = other
    already = await add(desk, (await desk.account())[1], secret=NEW, key_id=NEW_ID)
    before = await desk.db.fetchval("SELECT sealed FROM phone_number WHERE number_id = $1", already)
    own, given = await ask(desk, account_id, owner_id, None), await ask(desk, account_id, owner_id, users[1])

    await rekey.rekey(pool, settings)
    said = capsys.readouterr().out
    for number_id, user_id in numbers.items():
        row = await desk.db.fetchrow("SELECT * FROM sealed_number WHERE number_id = $1", number_id)
        assert row["key_id"] == NEW_ID
        assert open_number(NEW, row["sealed"], user_id, row["country"]).e164 == NUMBER
    for request_id, user_id in ((own, owner_id), (given, users[1])):
        row = await desk.db.fetchrow("SELECT * FROM request WHERE request_id = $1", request_id)
        assert row["new_key_id"] == NEW_ID
        assert open_number(NEW, row["new_sealed"], user_id, row["new_country"]).e164 == NUMBER
    assert await desk.db.fetchval("SELECT sealed FROM phone_number WHERE number_id = $1", already) == before
    assert OLD_ID not in said
    assert NUMBER not in said
    await rekey.rekey(pool, settings)
    assert capsys.readouterr().out.count("sealed anew: 0") == 2


async def test_a_number_that_does_not_open_is_named_and_left(
    desk: Desk, pool: Pool, settings: EnrolmentSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old key cannot be removed yet, and the exit status says so; the others are sealed all the same."""
    broken = await add(desk, (await desk.account())[1], secret=secrets.token_bytes(32))
    fine = await add(desk, (await desk.account())[1])
    assert await rekey.rekey(pool, settings) == 1
    said = capsys.readouterr().out
    assert f"{broken}\tunder {OLD_ID}: SealBrokenError" in said
    found = await desk.db.fetch(
        "SELECT number_id, key_id FROM phone_number WHERE number_id = ANY($1::uuid[])", [broken, fine]
    )
    assert {row["number_id"]: row["key_id"] for row in found} == {broken: OLD_ID, fine: NEW_ID}
    await desk.db.execute("DELETE FROM phone_number WHERE number_id = $1", broken)


async def test_a_number_that_the_service_works_on_is_waited_for(
    desk: Desk, pool: Pool, settings: EnrolmentSettings
) -> None:
    """The service erases it meanwhile: it stays erased, and nothing stops."""
    number_id = await add(desk, (await desk.account())[1])
    hold = desk.db.transaction()
    await hold.start()
    await desk.db.execute(ERASE, number_id)
    run = asyncio.ensure_future(rekey.rekey(pool, settings))
    await asyncio.sleep(0.5)
    assert not run.done()
    await hold.commit()
    await run
    row = await desk.db.fetchrow("SELECT sealed, key_id FROM phone_number WHERE number_id = $1", number_id)
    assert (row["sealed"], row["key_id"]) == (None, OLD_ID)

"""The demonstration's people, and what is erased when its time is over, on a real PostgreSQL."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from countersign.contract.number import open_number, parse_number
from countersign.runtime.database.postgres import open_pool
from countersign.runtime.keys import KeyRing
from countersign.runtime.retention import apply
from deploy.local.seeds import draw
from services.enrolment import changes, overview
from services.enrolment.chain import broken_at
from services.enrolment.retention import RULES
from services.enrolment.seed import seed
from tests.support.enrolment import Desk, settings_of
from tests.support.events import a_member_removed, a_member_set

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


async def sow(servers: Servers, content: dict[str, Any]) -> None:
    pool = await open_pool(servers.dsn_of("enrolment"), "enrolment")
    try:
        await seed(pool, settings_of(servers), json.loads(json.dumps(content)))
    finally:
        await pool.close()


async def test_a_seed_makes_members_with_sealed_confirmed_numbers_and_turns_two_factor_on(
    desk: Desk, servers: Servers
) -> None:
    """As the local stack writes it; the staff account stays off, and the audit chain begins with the seed."""
    content: Any = draw()
    await sow(servers, content)
    ring = KeyRing("number_keys", settings_of(servers).number_keys)
    for person in content["people"]:
        row = await desk.protection(person["user_id"])
        assert row is not None
        assert str(row["account_id"]) == person["account_id"]
        assert row["role"] == person["role"]
        assert row["number_state"] == "confirmed"
        assert str(row["number_id"]) == person["number_id"]
        assert row["two_factor"] is (person["account_id"] == content["account_id"])
        sealed = await desk.db.fetchrow("SELECT * FROM sealed_number WHERE number_id = $1", row["number_id"])
        assert sealed is not None
        number = open_number(ring.get(sealed["key_id"]).secret, sealed["sealed"], sealed["user_id"], sealed["country"])
        assert number == parse_number(person["number"])
        assert person["number"][3:].encode() not in sealed["sealed"]
        assert sealed["account_members"] == (3 if row["two_factor"] else 2)
    seen = await overview.see(desk.db, content["account_id"], "confirmed")
    assert seen is not None
    assert seen.blocked_by == []
    links = await changes.links_of(desk.db, content["account_id"])
    assert broken_at(links) is None
    assert [link.change.kind for link in links] == ["number.confirmed"] * 3 + ["two_factor.enabled"]


async def test_a_second_seed_changes_nothing_and_undoes_nothing(desk: Desk, servers: Servers) -> None:
    """What people changed since stays: a removed member, another number, the setting turned off."""
    content: Any = draw()
    await sow(servers, content)
    before = await desk.stored(content["account_id"])
    await sow(servers, content)
    assert await desk.stored(content["account_id"]) == before

    owner, managed = content["people"][0], content["people"][1]
    await desk.fold(a_member_removed(account_id=UUID(owner["account_id"]), user_id=UUID(managed["user_id"]), version=2))
    await desk.db.execute(
        "UPDATE phone_number SET state = 'reset', ended_at = now() WHERE number_id = $1", owner["number_id"]
    )
    await desk.db.execute("UPDATE account SET two_factor = false WHERE account_id = $1", owner["account_id"])
    before = await desk.stored(content["account_id"])
    await sow(servers, content)
    assert await desk.stored(content["account_id"]) == before


async def test_ended_numbers_are_erased_after_two_days(desk: Desk) -> None:
    """The notifier sees them until then; that they existed is kept, and numbers in force are left alone."""
    _, user_id = await desk.account()
    ages = {"recent": timedelta(days=1, hours=23), "old": timedelta(days=2, minutes=1)}
    ended = {
        name: await desk.add_number(user_id, "replaced", provided=timedelta(days=9), ended=age)
        for name, age in ages.items()
    }
    confirmed = await desk.add_number(user_id, "confirmed", provided=timedelta(days=9))
    visible = "SELECT array_agg(number_id) FROM sealed_number WHERE user_id = $1"
    assert set(await desk.db.fetchval(visible, user_id)) == {ended["recent"], confirmed}
    await apply(desk.db, RULES)
    assert set(await desk.db.fetchval(visible, user_id)) == {ended["recent"], confirmed}
    rows = await desk.db.fetch(
        "SELECT number_id, sealed IS NULL AND fingerprint IS NULL AS erased FROM phone_number WHERE user_id = $1",
        user_id,
    )
    assert {row["number_id"]: row["erased"] for row in rows} == {
        ended["recent"]: False,
        ended["old"]: True,
        confirmed: False,
    }


async def test_spent_grants_and_closed_requests_are_kept_forty_days(desk: Desk) -> None:
    """Longer than a topic could bring the decision back; an open request is never erased."""
    account_id, owner_id = await desk.account()
    ids = {}
    for name, closed in (("open", None), ("recent", 39), ("old", 41)):
        wanted = await desk.ask_for(a_member_set(account_id=account_id), owner_id)
        ids[name] = await desk.db.fetchval("SELECT request_id FROM request WHERE member_id = $1", wanted.user_id)
        if closed is not None:
            await desk.db.execute(
                "UPDATE request SET state = 'denied', closed_at = now() - make_interval(days => $2) "
                "WHERE request_id = $1",
                ids[name],
                closed,
            )
    spent = {days: uuid4() for days in (39, 41)}
    for days, request_id in spent.items():
        await desk.db.execute(
            "INSERT INTO spent_grant VALUES ($1, 'test', now() - make_interval(days => $2))", request_id, days
        )
    await apply(desk.db, RULES)
    left = await desk.db.fetch("SELECT request_id FROM request WHERE account_id = $1", account_id)
    assert {row["request_id"] for row in left} == {ids["open"], ids["recent"]}
    kept = await desk.db.fetch("SELECT request_id FROM spent_grant WHERE request_id = ANY($1)", list(spent.values()))
    assert [row["request_id"] for row in kept] == [spent[39]]


@pytest.mark.parametrize(
    "sql", ["UPDATE setting_change SET reason = 'x'", "DELETE FROM setting_change", "TRUNCATE setting_change"]
)
async def test_the_audit_table_is_only_ever_added_to(desk: Desk, servers: Servers, sql: str) -> None:
    """Not even enrolment's own role rewrites it by mistake."""
    await sow(servers, draw())
    with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
        await desk.db.execute(sql)

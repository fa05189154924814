"""Sessions: fixation, theft, ends; and grants that fit one browser."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from countersign.contract import Actor, MemberRemoved, NumberReset, PlacesForgotten
from countersign.runtime.messages.cloudevents import write
from tests.support.kafka import publish
from tests.support.whole_stack import Household, WholeStack, code_of, new_address, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from countersign.runtime.messages.cloudevents import Event

    Visit = Callable[..., Any]

pytestmark = pytest.mark.servers


async def test_a_new_id_at_each_step_up(visit: Visit, household: Household) -> None:
    """Whatever the browser held before a step opens nothing after it."""
    async with visit() as me:
        await me.get("/login")
        held = [me.cookie()]
        await me.give_password(household.owner)
        held.append(me.cookie())
        await me.asked()
        await me.give_code(await me.code(household.owner))
        held.append(me.cookie())
        assert len(set(held)) == 3
        assert (await me.get("/account")).status == 200
        for earlier in held[:2]:
            me.hold(earlier)
            assert (await me.get("/account")).goes_to == "/login"


async def test_a_planted_id_is_not_kept(visit: Visit, household: Household) -> None:
    """Session fixation: the attacker's secret in the victim's browser is worth nothing after the log-in."""
    async with visit() as attacker, visit() as victim:
        await attacker.get("/login")
        victim.hold(attacker.cookie())
        await victim.log_in(household.owner)
        assert victim.cookie() != attacker.cookie()
        assert (await attacker.get("/account")).goes_to == "/login"


async def test_log_out_ends_the_session_for_every_copy(visit: Visit, household: Household) -> None:
    """A copied cookie dies with the session."""
    async with visit() as me, visit() as copy:
        await me.log_in(household.owner)
        copy.hold(me.cookie())
        assert (await copy.get("/account")).status == 200
        await me.post("/logout", {}, page="/")
        assert (await copy.get("/account")).goes_to == "/login"


async def test_only_hashes_are_kept(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Whoever reads the table cannot be anybody."""
    async with visit() as me:
        await me.log_in(household.owner)
        async with whole.database() as db:
            rows = await db.fetch("SELECT * FROM gateway.session WHERE user_id = $1", household.owner.user_id)
        assert [row["id"] for row in rows] == [hashlib.sha256(me.cookie().encode()).digest()]
        assert me.cookie() not in str(rows)


@pytest.mark.parametrize(
    ("column", "age", "counts"),
    [
        ("used_at", "29 minutes", True),
        ("used_at", "31 minutes", False),
        ("begun_at", "11 hours 59 minutes", True),
        ("begun_at", "12 hours 1 minute", False),
    ],
)
async def test_a_session_ends_by_the_databases_clock(
    visit: Visit, whole: WholeStack, household: Household, column: str, age: str, counts: bool
) -> None:
    """30 minutes idle, 12 hours in all."""
    async with visit() as me:
        await me.log_in(household.owner)
        async with whole.database() as db:
            await db.execute(
                f"UPDATE gateway.session SET {column} = now() - '{age}'::interval WHERE user_id = $1",
                household.owner.user_id,
            )
        assert ((await me.get("/account")).status == 200) is counts


async def test_looking_again_by_itself_is_no_use(visit: Visit, whole: WholeStack, household: Household) -> None:
    """A page left open does not keep its session alive; a person who looks does."""
    async with visit() as me:
        await me.log_in(household.owner)

        async def idle_minutes() -> float:
            async with whole.database() as db:
                return float(
                    await db.fetchval(
                        "SELECT extract(epoch FROM now() - used_at) / 60 FROM gateway.session WHERE user_id = $1",
                        household.owner.user_id,
                    )
                )

        async with whole.database() as db:
            await db.execute(
                "UPDATE gateway.session SET used_at = now() - '10 minutes'::interval WHERE user_id = $1",
                household.owner.user_id,
            )
        await me.get("/", headers={"X-Looks-Again": "1"})
        assert await idle_minutes() > 9
        await me.get("/")
        assert await idle_minutes() < 1


async def test_a_grant_fits_one_browser(visit: Visit, whole: WholeStack, household: Household) -> None:
    """A request granted for one browser opens nothing in another that claims it, and the grant is refused in words."""
    address = new_address()
    async with visit(address) as me, visit(address) as thief:
        await me.give_password(household.owner)
        await thief.give_password(household.owner)
        await me.asked()
        await thief.asked()
        async with whole.database() as db:
            # The strongest thief there is: one who writes the victim's request into his own session's row.
            mine = hashlib.sha256(me.cookie().encode()).digest()
            theirs = hashlib.sha256(thief.cookie().encode()).digest()
            await db.execute(
                "UPDATE gateway.session SET request_id = (SELECT request_id FROM gateway.session WHERE id = $1)"
                " WHERE id = $2",
                mine,
                theirs,
            )
        for text in await whole.texts(household.owner.number):  # the victim's code is one of the two
            answer = await thief.give_code(code_of(text))
            if not answer.problem:
                answer = await thief.get(answer.goes_to)
                break
            assert answer.problem == "wrong"
        assert "does not fit this browser" in answer.text
        assert (await thief.get("/login/code")).status == 403
        assert (await thief.get("/account")).goes_to == "/login"


async def test_a_grant_opens_one_session(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Its id is spent in the transaction that makes the session: the pending row put back opens no second one."""
    async with visit() as me:
        await me.give_password(household.owner)
        pending = me.cookie()
        await me.asked()
        async with whole.database() as db:
            row = await db.fetchrow(
                "SELECT * FROM gateway.session WHERE id = $1", hashlib.sha256(pending.encode()).digest()
            )
        await me.give_code(await me.code(household.owner))
        assert (await me.get("/account")).status == 200  # the browser has its new secret: nothing is left to hand over
        async with whole.database() as db:
            await db.execute(
                f"INSERT INTO gateway.session ({', '.join(row.keys())}) VALUES"
                f" ({', '.join(f'${n}' for n in range(1, len(row) + 1))})",
                *row.values(),
            )
        me.hold(pending)
        assert (await me.get("/login/code")).goes_to == "/"
        assert (await me.get("/account")).goes_to == "/login"


async def _ends(whole: WholeStack, event: Event, clients: list[Any]) -> None:
    """Publish an event and wait until the sessions of these browsers are over."""
    async with whole.database() as db:
        now = await db.fetchval("SELECT now()")
    await publish(whole.as_writer(event.topic), write(event, source="test", time=now))

    async def over() -> bool:
        return all([(await client.get("/account")).goes_to == "/login" for client in clients])

    await until(over, "the end of the sessions")


async def test_a_removed_member_is_out(visit: Visit, whole: WholeStack, household: Household) -> None:
    """And the colleague stays in."""
    async with visit() as removed, visit() as colleague:
        await removed.log_in(household.managed[0])
        await colleague.log_in(household.owner)
        user_id = household.managed[0].user_id
        await _ends(whole, MemberRemoved(account_id=household.account_id, user_id=user_id, version=2), [removed])
        assert (await colleague.get("/account")).status == 200


async def test_after_a_reset_one_logs_in_anew(visit: Visit, whole: WholeStack, household: Household) -> None:
    """The phone is in doubt, so is who sits there."""
    async with visit() as me:
        await me.log_in(household.owner)
        event = NumberReset(
            account_id=household.account_id,
            user_id=household.owner.user_id,
            version=900,
            actor=Actor(kind="account_manager"),
            chain_head="A" * 43,
        )
        await _ends(whole, event, [me])
        # Read again, it leaves the session after it alone.
        await me.give_password(household.owner)
        async with whole.database() as db:
            before = await db.fetchval("SELECT count(*) FROM gateway.session WHERE user_id = $1", event.user_id)
            now = await db.fetchval("SELECT now()")
        await publish(whole.as_writer(event.topic), write(event, source="test", time=now))
        later = PlacesForgotten(
            account_id=household.account_id,
            version=901,
            actor=Actor(kind="system"),
            place="192.0.2.1/32",
            chain_head="A" * 43,
        )
        await publish(whole.as_writer(later.topic), write(later, source="test", time=now))

        async def folded() -> bool:
            async with whole.database() as db:
                key = f"{later.ce_type}:{later.natural_key()}"
                return bool(await db.fetchval("SELECT EXISTS (SELECT FROM gateway.ending WHERE event_key = $1)", key))

        await until(folded, "the later event")
        async with whole.database() as db:
            after = await db.fetchval("SELECT count(*) FROM gateway.session WHERE user_id = $1", event.user_id)
        assert (before, after) == (1, 1)


async def test_a_forgotten_computer_is_out(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Only the sessions that began there."""
    async with visit() as lost, visit() as kept:
        await lost.log_in(household.owner)
        await kept.log_in(household.managed[0])
        event = PlacesForgotten(
            account_id=household.account_id,
            version=900,
            actor=Actor(kind="user"),
            place=f"{lost.address}/32",
            chain_head="A" * 43,
        )
        await _ends(whole, event, [lost])
        assert (await kept.get("/account")).status == 200

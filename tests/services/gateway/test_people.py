"""Seeding, resending, and what is deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import pytest

from countersign.runtime.retention import apply
from services.gateway.retention import KEYS_KEPT, RULES
from tests.services.gateway.conftest import Client
from tests.support.whole_stack import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.whole_stack import Household, WholeStack

    Visit = Callable[..., Any]

pytestmark = pytest.mark.servers

# Only the database's clock counts, so a text that was issued earlier is the same as a wait.
LET_WAIT = """
UPDATE verifier.send SET issued_at = issued_at - $2::interval
 WHERE challenge_id IN (SELECT challenge_id FROM verifier.challenge WHERE user_id = $1 AND closed_at IS NULL)
"""


async def test_a_second_seed_changes_nothing(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Neither the password nor the name of people who are there."""
    owner = household.owner
    content = {
        "people": [{**vars(owner), "password": "another", "name": "Another", "email": owner.email.upper()}],
    }
    await whole.sow_gateway(content)
    async with visit() as me:
        assert (await me.give_password(owner, "another")).problem == "wrong"
        await me.log_in(owner)
        assert owner.name in (await me.get("/")).text


async def test_the_very_computer_of_the_local_stack_becomes_known(whole: WholeStack, household: Household) -> None:
    """A browser on this machine comes through no proxy: its own address counts, so the second log-in asks no code."""
    for times in range(2):
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            me = Client(http, whole, "127.0.0.1")
            if times == 0:
                await me.log_in(household.owner)

                async def known() -> bool:
                    async with whole.database() as db:
                        known = "SELECT EXISTS (SELECT FROM risk_evaluator.known_place WHERE account_id = $1)"
                        return bool(await db.fetchval(known, household.account_id))

                await until(known, "the place")
            else:
                await me.give_password(household.owner)
                assert (await me.get("/login/code")).goes_to == "/"


async def test_both_codes_of_two_texts_open(visit: Visit, whole: WholeStack, household: Household) -> None:
    """A resend has to wait 30 s; then the first text's code is still good, as texts overtake each other."""
    async with visit() as me:
        await me.give_password(household.owner)
        page = await me.asked()
        first = await me.code(household.owner)
        early = await me.send("/login/code", {"csrf": page.hidden("csrf"), "do": "resend"})
        assert early.problem == "resend_wait"
        assert "too early for another text" in early.alert()
        async with whole.database() as db:
            await db.execute(LET_WAIT, household.owner.user_id, timedelta(seconds=15))
            still = await me.send("/login/code", {"csrf": page.hidden("csrf"), "do": "resend"})
            assert still.problem == "resend_wait"
            await db.execute(LET_WAIT, household.owner.user_id, timedelta(seconds=15))
        sent = await me.ask("POST", "/login/code", data={"csrf": page.hidden("csrf"), "do": "resend"})
        assert sent.goes_to == "/login/code"
        second = await me.code(household.owner, nth=2)
        assert first != second
        assert "You can ask for another in" in (await me.get("/login/code")).text
        assert (await me.give_code(first)).goes_to == "/"


async def test_what_no_longer_counts_is_deleted(whole: WholeStack, household: Household) -> None:
    """And what counts is kept: each from both sides of its limit."""
    user_id, old, new = household.owner.user_id, uuid4(), uuid4()
    async with whole.database() as db, db.transaction():
        await db.execute("SET LOCAL search_path = gateway")
        for jti, age in ((old, KEYS_KEPT + timedelta(minutes=1)), (new, KEYS_KEPT - timedelta(minutes=1))):
            await db.execute("INSERT INTO spent_grant VALUES ($1, now() - $2::interval)", jti, age)
            await db.execute(
                "INSERT INTO session (id, site, stage, user_id, request_id, method, begun_at, used_at)"
                " VALUES ($1, 'pages', 'signed_in', $2, $3, 'sms', now(), now() - $4::interval)",
                jti.bytes * 2,
                user_id,
                jti,
                timedelta(minutes=31 if jti == old else 29),
            )
        await apply(db, RULES)
        assert [
            row["jti"] for row in await db.fetch("SELECT jti FROM spent_grant WHERE jti = ANY($1)", [old, new])
        ] == [new]
        left = await db.fetch("SELECT request_id FROM session WHERE user_id = $1", user_id)
        assert [row["request_id"] for row in left] == [new]

"""The console in plain HTTP: forms sent twice, acts that end challenges and sessions, and what it never shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import pytest

from tests.support.whole_stack import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.gateway.conftest import Answer, Client
    from tests.support.whole_stack import Household, Person, WholeStack

    Visit = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

WHY = {"reason": "asked by telephone", "ticket": "SUP-7"}
# What somebody who has asked for a code is told of, and what became of their request.
CHALLENGED = """
SELECT r.request_id, c.challenge_id FROM verifier.request r JOIN verifier.challenge c USING (request_id)
 WHERE r.user_id = $1 AND c.closed_at IS NULL
"""
TEN_ACTS = """
INSERT INTO enrolment.manager_act (request_id, manager_id, kind, account_id, anywhere, reason, ticket, outcome, at)
SELECT gen_random_uuid(), $1, 'two_factor.off', $2, false, 'r', 't', 'done', now() FROM generate_series(1, 10)
"""
REASON = "SELECT reason FROM verifier.decision WHERE request_id = $1"


async def at_the_console(me: Client, manager: Person) -> Client:
    """Log an account manager in."""
    me.base = me.whole.console
    assert (await me.give_password(manager)).goes_to == "/login/code"
    await me.asked()
    answer = await me.give_code(await me.code(manager))
    assert answer.goes_to == "/manager", answer.status
    return me


async def ask(me: Client, path: str, **over: str) -> tuple[Answer, dict[str, str]]:
    """Send the form of an act; return the answer and what was sent."""
    page = await me.get(path)
    sent = {"csrf": page.hidden("csrf"), "once": page.hidden("once"), **WHY, **over}
    return await me.ask("POST", path, data=sent), sent


async def enter(me: Client, code: str) -> tuple[Answer, dict[str, str]]:
    """Enter the code of an act; return the answer and what was sent."""
    page = await me.asked("/manager/act")
    names = ("csrf", "once", "step")
    sent = {name: page.hidden(name) for name in names} | {"code": code, "do": "answer"}
    return await me.ask("POST", "/manager/act", data=sent), sent


async def carry_out(me: Client, manager: Person, path: str) -> Answer:
    """Act, with the newest code."""
    before = len(await me.whole.texts(manager.number))
    await ask(me, path)
    await enter(me, await me.whole.code(manager.number, nth=before + 1))
    return await me.get("/manager/act")


async def test_a_form_sent_twice_is_one_act(visit: Visit, whole: WholeStack, household: Household) -> None:
    """One text, one act; and the code's form sent twice carries it out once."""
    manager, path = await whole.manager(), f"/manager/accounts/{household.account_id}/off"
    async with visit() as me:
        await at_the_console(me, manager)
        answer, sent = await ask(me, path)
        assert answer.goes_to == "/manager/act"
        assert (await me.ask("POST", path, data=sent)).goes_to == "/manager/act"
        code = await whole.code(manager.number, nth=2)
        _, answered = await enter(me, code)
        assert (await me.ask("POST", "/manager/act", data=answered)).goes_to == "/manager/act"
        assert (await me.get("/manager/act")).state == "done"
        # The first form once more: the act is done, and nothing is asked for again.
        assert (await me.ask("POST", path, data=sent)).goes_to == "/manager/act"
        assert (await me.get("/manager/act")).state == "done"
        assert len(await whole.texts(manager.number)) == 2
    async with whole.database() as db:
        acts = await db.fetch("SELECT * FROM enrolment.manager_act WHERE account_id = $1", household.account_id)
    assert [(act["kind"], act["outcome"], act["manager_id"]) for act in acts] == [
        ("two_factor.off", "done", manager.user_id)
    ]


@pytest.mark.parametrize("kind", ["reset", "off"])
async def test_an_act_ends_log_ins_that_wait_for_a_code(
    visit: Visit, whole: WholeStack, household: Household, kind: str
) -> None:
    """Who has the old phone and the code in hand gets in nowhere, at the page or at the verifier."""
    manager, person = await whole.manager(), household.managed[0]
    subject = f"users/{person.user_id}/reset" if kind == "reset" else "off"
    async with visit() as thief, visit() as me:
        await thief.give_password(person)
        await thief.asked()
        code = await thief.code(person)
        async with whole.database() as db:
            challenged = await db.fetchrow(CHALLENGED, person.user_id)
        await at_the_console(me, manager)
        done = await carry_out(me, manager, f"/manager/accounts/{household.account_id}/{subject}")
        assert done.state == "done"

        async def ended() -> bool:
            return (await thief.get("/login/code")).goes_to == "/"

        await until(ended, "the end of the pending session")
        if kind == "reset":
            assert await answered(whole, challenged["challenge_id"], code) == "over"
            async with whole.database() as db:
                assert await db.fetchval(REASON, challenged["request_id"]) == "number.replaced"


async def answered(whole: WholeStack, challenge_id: object, code: str) -> str:
    """Give a code to the verifier as the gateway does; return its verdict."""
    url = f"{whole['VERIFIER_URL']}/v1/challenges/{challenge_id}/answers"
    headers = {"Authorization": f"Bearer {whole['SERVICE_TOKEN']}"}
    body = {"code": code, "answer_id": str(uuid4())}
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
        verdict: str = (await answer.json())["verdict"]
        return verdict


async def test_the_grant_of_a_copy_is_not_acted_on(visit: Visit, whole: WholeStack, household: Household) -> None:
    """If the request that was judged is not the one that this console published, its code carries nothing out."""
    manager = await whole.manager()
    async with visit() as me:
        await at_the_console(me, manager)
        await ask(me, f"/manager/accounts/{household.account_id}/off")
        async with whole.database() as db:
            await db.execute(
                "UPDATE gateway.manager_draft SET req = $2 WHERE account_id = $1", household.account_id, "A" * 43
            )
        await enter(me, await whole.code(manager.number, nth=2))
        page = await me.get("/manager/act")
        assert page.state == "refused"
        assert "not entered for exactly this" in page.text
    async with visit() as owner:
        await owner.give_password(household.owner)
        await owner.asked()


async def test_the_eleventh_act_is_refused_in_words(visit: Visit, whole: WholeStack, household: Household) -> None:
    """It says when, and that others know."""
    manager, path = await whole.manager(), f"/manager/accounts/{household.account_id}"
    async with whole.database() as db:
        await db.execute(TEN_ACTS, manager.user_id, household.account_id)
    async with visit() as me:
        await at_the_console(me, manager)
        page = await carry_out(me, manager, f"{path}/users/{household.managed[0].user_id}/unlock")
        assert page.state == "refused"
        assert "alarm" in page.text


async def test_no_page_of_the_console_shows_a_number(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Not even a masked one of a customer; only the account manager's own at the code box."""
    manager, person = await whole.manager(), household.managed[0]
    account = f"/manager/accounts/{household.account_id}"
    async with visit() as me:
        await at_the_console(me, manager)
        pages = [await me.get(path) for path in (account, f"{account}/off", f"{account}/users/{person.user_id}/reset")]
        pages.append(await carry_out(me, manager, f"{account}/users/{person.user_id}/unlock"))
        pages.append(await me.get("/manager/acts"))
    for page in pages:
        assert page.status == 200
        assert "•" not in page.text
        for number in {one.number for one in (household.owner, *household.managed)}:
            assert number[-6:] not in page.text.replace(str(household.account_id), "")


@pytest.mark.parametrize("path", ["x", "off/x", "users/{other}/reset", "users/{owner}/off", "reset", "users/x/unlock"])
async def test_what_is_no_act_is_not_found(visit: Visit, whole: WholeStack, household: Household, path: str) -> None:
    """Neither an unknown act, nor one of a user that is not of the account, nor one on the wrong kind of thing."""
    named = path.format(other=uuid4(), owner=household.owner.user_id)
    async with visit() as me:
        await at_the_console(me, await whole.manager())
        assert (await me.get(f"/manager/accounts/{household.account_id}/{named}")).status == 404
        assert (await me.get(f"/manager/accounts/{uuid4()}")).status == 404


async def test_who_is_not_signed_in_comes_to_the_log_in(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Every page, and every form that is sent."""
    account = f"/manager/accounts/{household.account_id}"
    async with visit() as me:
        me.base = whole.console
        for path in ("/manager", "/manager/acts", "/manager/act", account, f"{account}/off"):
            assert (await me.get(path)).goes_to == "/login", path
        for path in ("/manager", "/manager/act", f"{account}/off"):
            assert (await me.post(path, {**WHY, "account": "x"}, page="/login")).goes_to == "/login", path

"""Forms sent twice and answers that never come: one session, one text, and nobody signed in without a browser."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.gateway.conftest import Answer, Client
    from tests.support.whole_stack import Household, WholeStack

    Visit = Callable[..., Any]

pytestmark = pytest.mark.servers


def _login_form(page: Answer, household: Household, password: str | None = None) -> dict[str, str]:
    owner = household.owner
    hidden = {name: page.hidden(name) for name in ("csrf", "once")}
    return {**hidden, "email": owner.email, "password": password or owner.password}


async def _code_form(me: Client, household: Household) -> dict[str, str]:
    page = await me.asked()
    code = await me.code(household.owner)
    return {"csrf": page.hidden("csrf"), "once": page.hidden("once"), "code": code, "do": "answer"}


async def test_two_clicks_on_log_in_are_one_log_in(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Both sendings together, before any answer: one pending session, one request, one text, one secret."""
    async with visit() as me:
        form = _login_form(await me.get("/login"), household)
        both = await asyncio.gather(*(me.ask("POST", "/login", data=form) for _ in range(2)))
        assert [answer.goes_to for answer in both] == ["/login/code"] * 2
        secrets = {str(answer.headers["Set-Cookie"]).partition(";")[0] for answer in both}
        assert len(secrets) == 1
        await me.give_code((await _code_form(me, household))["code"])
        assert (await me.get("/account")).status == 200
        assert len(await whole.texts(household.owner.number)) == 1
        async with whole.database() as db:
            count = await db.fetchval(
                "SELECT count(*) FROM gateway.session WHERE user_id = $1", household.owner.user_id
            )
        assert count == 1


async def test_a_lost_answer_to_the_password(visit: Visit, whole: WholeStack, household: Household) -> None:
    """The browser that holds its first secret still sends the form again and is led to the same code box."""
    async with visit() as me:
        page = await me.get("/login")
        before = me.cookie()
        await me.ask("POST", "/login", data=_login_form(page, household))
        held = me.cookie()
        await me.asked()
        me.hold(before)  # as if the answer had not come
        assert (await me.ask("POST", "/login", data=_login_form(page, household))).goes_to == "/login/code"
        assert me.cookie() == held
        assert (await me.get("/login/code")).state == "code"
        assert len(await whole.texts(household.owner.number)) == 1


async def test_a_second_click_after_the_answer(visit: Visit, household: Household) -> None:
    """Its token is the old secret's; it is led to where the session is, and nothing is done."""
    async with visit() as me, visit() as other:
        page = await me.get("/login")
        form = _login_form(page, household)
        await me.ask("POST", "/login", data=form)
        held = me.cookie()
        assert (await me.ask("POST", "/login", data=form)).goes_to == "/login/code"
        assert me.cookie() == held
        strange = {**form, "once": (await other.get("/login")).hidden("once")}
        assert (await me.ask("POST", "/login", data=strange)).goes_to == "/login/code"  # as another tab's: led on
        assert me.cookie() == held
        code = await _code_form(me, household)
        assert (await me.ask("POST", "/login/code", data=code)).goes_to == "/"
        held = me.cookie()
        assert (await me.ask("POST", "/login/code", data=code)).goes_to == "/"
        assert (await me.ask("POST", "/login", data=form)).goes_to == "/"
        assert me.cookie() == held
        assert (await me.get("/account")).status == 200


@pytest.mark.parametrize("again", ["the same form", "the code page", "the log-in page"])
async def test_a_lost_answer_to_the_right_code(
    visit: Visit, whole: WholeStack, household: Household, again: str
) -> None:
    """The signed-in session comes to the browser that logged in, however it asks next; it is one session."""
    async with visit() as me:
        await me.ask("POST", "/login", data=_login_form(await me.get("/login"), household))
        pending, form = me.cookie(), await _code_form(me, household)
        assert (await me.ask("POST", "/login/code", data=form)).goes_to == "/"
        lost = me.cookie()
        me.hold(pending)  # as if the answer had not come
        match again:
            case "the same form":
                answer = await me.ask("POST", "/login/code", data=form)
            case "the code page":
                answer = await me.get("/login/code")
            case _:
                answer = await me.get("/login")
        assert answer.goes_to == "/"
        assert me.cookie() == lost
        assert (await me.get("/account")).status == 200
        async with whole.database() as db:
            count = await db.fetchval(
                "SELECT count(*) FROM gateway.session WHERE user_id = $1", household.owner.user_id
            )
        assert count == 1


async def test_two_pages_finish_one_log_in_together(visit: Visit, household: Household) -> None:
    """The form and the page that looks again, at the same moment: both bring the same session."""
    async with visit() as me:
        await me.ask("POST", "/login", data=_login_form(await me.get("/login"), household))
        form = await _code_form(me, household)
        answers = await asyncio.gather(*(me.ask("POST", "/login/code", data=form) for _ in range(5)))
        assert {answer.goes_to for answer in answers} == {"/"}
        handed = {one.partition(";")[0] for answer in answers for one in answer.headers.getall("Set-Cookie", [])}
        assert len([one for one in handed if one.startswith("session=")]) == 1
        assert (await me.get("/account")).status == 200


async def test_a_copied_pending_secret_is_worth_nothing_afterwards(visit: Visit, household: Household) -> None:
    """As soon as the browser has shown its new secret, the old one fetches nothing: not for a copy, nor a replay."""
    async with visit() as me, visit() as copy:
        page = await me.get("/login")
        first = me.cookie()
        form = _login_form(page, household)
        await me.ask("POST", "/login", data=form)
        pending, code = me.cookie(), await _code_form(me, household)
        await me.ask("POST", "/login/code", data=code)
        assert (await me.get("/account")).status == 200
        for path in ("/login", "/login/code", "/"):
            copy.hold(pending)
            await copy.get(path)
            assert (await copy.get("/account")).goes_to == "/login"
        copy.hold(pending)
        await copy.ask("POST", "/login/code", data=code)
        assert (await copy.get("/account")).goes_to == "/login"
        await me.post("/logout", {}, page="/")
        # Everything that was ever sent, sent again after the log-out: a pending session whose grant is spent.
        copy.hold(first)
        await copy.ask("POST", "/login", data=form)
        await copy.get("/login/code")
        await copy.ask("POST", "/login/code", data=code)
        assert (await copy.get("/account")).goes_to == "/login"


async def test_the_hand_over_is_short(visit: Visit, whole: WholeStack, household: Household) -> None:
    """From both sides of its limit; and whoever cancels instead is not signed in."""
    for age, signed_in in (("119 seconds", True), ("121 seconds", False)):
        async with visit() as me:
            await me.ask("POST", "/login", data=_login_form(await me.get("/login"), household))
            pending, form = me.cookie(), await _code_form(me, household)
            await me.ask("POST", "/login/code", data=form)
            async with whole.database() as db:
                await db.execute(
                    "UPDATE gateway.session SET begun_at = now() - $2::text::interval WHERE id = $1",
                    hashlib.sha256(me.cookie().encode()).digest(),
                    age,
                )
            me.hold(pending)
            assert ((await me.get("/login")).goes_to == "/") is signed_in


async def test_cancel_after_a_lost_answer(visit: Visit, household: Household) -> None:
    """The person did not see that the code was right, and cancelled: nobody is signed in."""
    async with visit() as me:
        await me.ask("POST", "/login", data=_login_form(await me.get("/login"), household))
        pending, form = me.cookie(), await _code_form(me, household)
        await me.ask("POST", "/login/code", data=form)
        signed_in = me.cookie()
        me.hold(pending)
        await me.ask("POST", "/login/code", data={**form, "do": "cancel"})
        for secret in (me.cookie(), signed_in):
            me.hold(secret)
            assert (await me.get("/account")).goes_to == "/login"


async def test_two_clicks_on_log_out(visit: Visit, household: Household) -> None:
    """The second finds nothing left to end, and leads to the log-in page too."""
    async with visit() as me:
        await me.log_in(household.owner)
        form = {"csrf": (await me.get("/")).hidden("csrf")}
        assert [(await me.ask("POST", "/logout", data=form)).goes_to for _ in range(2)] == ["/login"] * 2


async def test_a_form_without_an_id_of_ours_is_always_new(visit: Visit, household: Household) -> None:
    """Only our pages' ids make two sendings one: what somebody else chose derives nothing."""
    secrets = set()
    for _ in range(2):
        async with visit() as me:
            page = await me.get("/login")
            await me.ask("POST", "/login", data={**_login_form(page, household), "once": "chosen"})
            secrets.add(me.cookie())
    assert len(secrets) == 2

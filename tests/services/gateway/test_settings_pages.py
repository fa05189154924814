"""The settings pages in plain HTTP: what is kept and for how long, forms made by hand, and forms sent twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.whole_stack import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.gateway.conftest import Answer, Client
    from tests.support.whole_stack import Household, WholeStack

    Visit = Callable[..., Any]

pytestmark = pytest.mark.servers

NEW = "+46701740698"
DRAFTS = "SELECT needs, number_hint, request_id FROM gateway.settings_draft WHERE user_id = $1"
STALE = "UPDATE gateway.session SET password_at = now() - interval '6 minutes' WHERE user_id = $1"
# Every column of the two tables as text, so that a number in any of them would be seen.
KEPT = """
SELECT d::text FROM gateway.settings_draft d
 UNION ALL SELECT m::text || coalesce(encode(m.typed, 'escape'), '') FROM gateway.settings_message m
"""


async def begin_change(me: Client, number: str = NEW) -> Answer:
    """Enter a new number and go to the page that asks for the code to the phone of before."""
    page = await me.get("/account/number")
    form = {"csrf": page.hidden("csrf"), "once": page.hidden("once"), "do": "send", "number": number}
    assert (await me.ask("POST", "/account/number", data=form)).goes_to == "/account/number"
    return await me.asked("/account/number")


async def test_no_number_is_kept_in_the_plain(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Neither of a change that waits for its code nor of what was refused and is shown again."""
    async with visit() as me:
        await me.log_in(household.owner)
        await begin_change(me)
        await me.ask("POST", "/account/number", data={"do": "cancel"})
        page = await me.get("/account")
        for number in (NEW, "+4670 174 06"):
            form = {"csrf": page.hidden("csrf"), "do": "send", "number": number}
            await me.ask("POST", "/account/number", data=form)
        async with whole.database() as db:
            kept = " ".join(row[0] for row in await db.fetch(KEPT))
        assert "98" in kept  # the masked form: the search would find the number if it were there
        for part in ("70174", "70 174", "467017406"):
            assert part not in kept


async def test_what_was_begun_ends_with_the_session(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Logging out forgets it; another session of the same person sees nothing of it."""
    async with visit() as me, visit() as elsewhere:
        await elsewhere.log_in(household.owner)
        await me.log_in(household.owner)
        await begin_change(me)
        assert (await elsewhere.get("/account/number")).state == "form"
        async with whole.database() as db:
            assert len(await db.fetch(DRAFTS, household.owner.user_id)) == 1
            await me.post("/logout", {}, page="/account")
            assert await db.fetch(DRAFTS, household.owner.user_id) == []


async def test_no_id_of_a_request_is_in_a_page(visit: Visit, whole: WholeStack, household: Household) -> None:
    """The gateway keeps request and challenge ids with the session."""
    async with visit() as me:
        await me.log_in(household.owner)
        page = await begin_change(me)
        async with whole.database() as db:
            (row,) = await db.fetch(DRAFTS, household.owner.user_id)
        assert str(row["request_id"]) not in page.text
        assert row["needs"] == "change_number"


async def test_a_form_of_an_earlier_step_does_nothing(visit: Visit, whole: WholeStack, household: Household) -> None:
    """The code of step 1, sent once more after step 2 has begun, is not judged as the code of step 2."""
    owner = household.owner
    async with visit() as me:
        await me.log_in(owner)
        seen = len(await whole.texts(owner.number))
        page = await begin_change(me)
        code = await whole.code(owner.number, "", seen + 1)
        form = {
            **{name: page.hidden(name) for name in ("csrf", "once", "step")},
            "do": "answer",
            "code": code,
        }
        for _ in range(2):
            assert (await me.ask("POST", "/account/number", data=form)).goes_to == "/account/number"
        page = await me.asked("/account/number")
        assert "Step 2 of 2" in page.text
        assert "5 tries left" in page.text
        assert (await me.ask("POST", "/account/number", data={**form, "do": "cancel"})).goes_to == "/account/number"
        assert (await me.asked("/account/number")).state == "code"


async def test_the_password_has_the_limits_of_a_log_in(visit: Visit, whole: WholeStack, household: Household) -> None:
    """The tries of the browser that has logged in are used up by either page; the right one is then not judged."""
    owner = household.owner
    async with visit() as me:
        await me.log_in(owner)
        async with whole.database() as db:
            await db.execute(STALE, owner.user_id)
        for _ in range(10):
            answer = await me.post("/account/password", {"password": "wrong", "to": "/account/number"})
            assert answer.goes_to == "/account/password?to=/account/number"
            assert "That password is not right" in (await me.get(answer.goes_to)).text
        await me.post("/account/password", {"password": owner.password, "to": "/account/number"})
        assert "Too many tries" in (await me.get("/account/password")).text
        assert (await me.get("/account/number")).goes_to == "/account/password?to=/account/number"


async def test_the_password_page_leads_nowhere_else(visit: Visit, household: Household) -> None:
    """A form made by hand with an address of somebody else's leads to the Overview."""
    async with visit() as me:
        await me.log_in(household.owner)
        for to in ("//evil.example", "https://evil.example/account/number", "/account/number\\..", "/logout"):
            answer = await me.post(
                "/account/password", {"password": household.owner.password, "to": to}, page="/account"
            )
            assert answer.goes_to == "/account#security"


async def test_nobody_comes_without_a_session(visit: Visit, household: Household) -> None:
    """Nor with the password alone."""
    paths = ("/account", "/account/number", "/account/help", "/account/password")
    other = f"/account/users/{household.managed[0].user_id}/number"
    async with visit() as me:
        for path in (*paths, other):
            assert (await me.get(path)).goes_to == "/login"
        await me.give_password(household.owner)
        for path in (*paths, other):
            assert (await me.get(path)).goes_to == "/login"


@pytest.mark.parametrize("path", ["number", "two-factor", "computers", "activity", "password"])
async def test_forms_from_elsewhere_are_refused(visit: Visit, household: Household, path: str) -> None:
    """Without the token of our own page nothing is done."""
    async with visit() as me:
        await me.log_in(household.owner)
        assert (await me.ask("POST", f"/account/{path}", data={"do": "others"})).status == 403


async def test_a_member_who_was_removed_sees_nothing(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Whom enrolment knows no longer gets no page of the account, though the session is still there."""
    async with visit() as me:
        await me.log_in(household.managed[0])
        async with whole.database() as db:
            await db.execute("UPDATE enrolment.member SET role = NULL, name = NULL WHERE user_id = $1",
                             household.managed[0].user_id)  # fmt: skip
        assert (await me.get("/account")).status == 404
        assert (await me.get("/account/number")).status == 404


async def test_a_thousand_people(visit: Visit, whole: WholeStack, household: Household) -> None:
    """The Overview of a large account is pages of fifty, and stays small."""
    add = """
    INSERT INTO enrolment.member (user_id, account_id, version, role, name)
    SELECT gen_random_uuid(), $1, 1, 'managed', 'Member ' || n FROM generate_series(1, 1000) AS n
    """
    async with visit() as me:
        await me.log_in(household.owner)
        async with whole.database() as db:
            await db.execute(add, household.account_id)

        async def shown() -> bool:
            return "Page 1 of 21" in (await me.get("/account")).text

        await until(shown, "the people")
        page = await me.get("/account?people=21#people")
        assert "Page 21 of 21" in page.text
        assert len(page.text) < 120_000

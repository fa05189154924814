"""M12 of the mission, and what a thief cannot do: numbers on their own pages, with scripts and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.browser.settings import (
    code_to,
    household_off,
    is_on,
    log_in_without_code,
    new_number,
    press,
    stale_password,
    texts_to,
)
from tests.support.whole_stack import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.person import Computer
    from tests.support.whole_stack import Household, Person, WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


async def hint_in_force(whole: WholeStack, person: Person) -> str:
    """Return the last two digits of the number in force."""
    async with whole.database() as db:
        hint = await db.fetchval(
            "SELECT hint FROM enrolment.phone_number WHERE user_id = $1 AND state = 'confirmed'", person.user_id
        )
    return str(hint)[-2:]


async def ask_change(me: Computer, number: str) -> None:
    """Enter a new number on one's own page."""
    await me.open("/account/number")
    await me.page.fill("#number", number)
    await press(me, "Send code")


async def test_a_number_is_changed_with_two_codes(computer: Computers, whole: WholeStack, household: Household) -> None:
    """M12: the phone of before first, then the new one; the old number stays in force until then."""
    owner, number = household.owner, new_number()
    async with computer() as me, computer() as elsewhere:
        await elsewhere.log_in(owner)
        await me.log_in(owner)
        seen = await texts_to(me, owner.number)
        await ask_change(me, number)
        await me.reads("Step 1 of 2")
        assert await texts_to(me, number) == 0
        await me.give_code(await code_to(me, owner.number, seen))
        await me.reads("Step 2 of 2")
        assert await hint_in_force(whole, owner) == owner.number[-2:]
        await me.give_code(await code_to(me, number))
        await me.reads("is confirmed. Codes go to it from now on.")
        assert await hint_in_force(whole, owner) == number[-2:]
        assert number[3:-2] not in (await me.page.content()).replace(" ", "")

        async def logged_out() -> bool:
            return not await elsewhere.is_let_in()

        await until(logged_out, "the end of the other session")
        assert await me.is_let_in()
    async with computer() as later:
        await later.give_password(owner)
        await later.asked_for_code()
        await later.give_code(await code_to(later, number, 1))
        await later.signed_in(owner)


async def test_a_managed_user_confirms_a_given_number(computer: Computers, whole: WholeStack) -> None:
    """M13: who was given a number confirms it, without typing it again."""
    household = await household_off(whole, given=[1])
    mine = household.managed[0]
    async with computer() as me:
        await log_in_without_code(me, mine)
        await me.open("/account")
        await me.page.get_by_role("link", name="Confirm your mobile number").click()
        seen = await texts_to(me, mine.number)
        await press(me, "Send code")
        await me.asked_for_code()
        await me.give_code(await code_to(me, mine.number, seen))
        await me.reads("is confirmed")
        assert await hint_in_force(whole, mine) == mine.number[-2:]


async def test_an_owner_gives_a_number_with_a_code(computer: Computers, whole: WholeStack) -> None:
    """M13: on a protected account a code to the owner first; the text and the page name the member."""
    household, number = await household_off(whole, given=[1]), new_number()
    owner, theirs = household.owner, household.managed[0]
    async with whole.database() as db:
        await db.execute("UPDATE enrolment.account SET two_factor = true WHERE account_id = $1", household.account_id)
    async with computer() as me:
        await me.log_in(owner)
        seen = await texts_to(me, owner.number)
        await me.open("/account")
        await me.page.get_by_role("link", name=f"Change the number of {theirs.name}").click()
        await me.page.fill("#number", number)
        await press(me, "Send code")
        await me.asked_for_code()
        await me.reads(theirs.name)
        await me.give_code(await code_to(me, owner.number, seen))
        await me.reads(f"{theirs.name} has the number")
        assert await texts_to(me, number) == 0
        await me.open(f"/account/users/{household.managed[1].user_id}/number")
        await me.reads("has confirmed a mobile number. Only")


async def test_a_thief_with_the_session_moves_no_number(
    computer: Computers, whole: WholeStack, household: Household
) -> None:
    """M12, M15: with the owner's session and no phone: not the number, not the setting, not another's number."""
    owner, number = household.owner, new_number()
    async with computer() as thief:
        await thief.log_in(owner)
        await ask_change(thief, number)
        await thief.asked_for_code()
        for guess in ("000000", "111111"):
            await thief.give_code(guess)
            await expect(thief.page.locator(".summary")).to_be_visible()
        await press(thief, "Cancel")
        assert await texts_to(thief, number) == 0
        assert await hint_in_force(whole, owner) == owner.number[-2:]
        await thief.open("/account")
        await expect(thief.page.locator("#security-section form")).to_have_count(0)
        token = await thief.page.locator("input[name=csrf]").first.get_attribute("value")
        answer = await thief.page.request.post(
            f"{whole.gateway}/account/two-factor", form={"csrf": str(token), "do": "send"}, max_redirects=0
        )
        assert answer.status == 303
        assert await is_on(whole, household)


async def test_the_password_comes_before_a_number(computer: Computers, whole: WholeStack, household: Household) -> None:
    """M12: after five minutes a session alone does not see the form, nor can it send one that it made."""
    owner = household.owner
    async with computer() as me:
        await me.log_in(owner)
        await stale_password(whole, owner)
        await me.open("/account")
        token = await me.page.locator("input[name=csrf]").first.get_attribute("value")
        answer = await me.page.request.post(
            f"{whole.gateway}/account/number",
            form={"csrf": str(token), "do": "send", "number": new_number()},
            max_redirects=0,
        )
        assert answer.headers["location"] == "/account/password?to=/account/number"
        await me.open("/account/number")
        await expect(me.page.locator("h1")).to_have_text("Enter your password")
        await me.page.fill("#password", owner.password)
        await press(me, "Continue")
        await expect(me.page.locator("h1")).to_have_text("Change your mobile number")


async def test_a_managed_user_gives_nobody_a_number(computer: Computers, household: Household) -> None:
    """M13: not on the page, nor with a form made by hand."""
    mine, other = household.managed
    async with computer() as me:
        await me.log_in(mine)
        token = await me.page.locator("input[name=csrf]").first.get_attribute("value")
        for person in (household.owner, other):
            answer = await me.page.request.post(
                f"{me.whole.gateway}/account/users/{person.user_id}/number",
                form={"csrf": str(token), "do": "send", "number": new_number()},
                max_redirects=0,
            )
            assert answer.status == 404


async def test_the_same_number_and_a_form_sent_twice(
    computer: Computers, whole: WholeStack, household: Household
) -> None:
    """M12: the number in force is said to be it; two clicks are one request and one text."""
    owner, number = household.owner, new_number()
    async with computer() as me:
        await me.log_in(owner)
        await ask_change(me, owner.number)
        await expect(me.page.locator(".summary")).to_contain_text("This is your number already")
        seen = await texts_to(me, owner.number)
        await me.page.fill("#number", number)
        await me.page.get_by_role("button", name="Send code").dblclick()
        await me.asked_for_code()
        code = await code_to(me, owner.number, seen)
        await me.page.fill("#code", code)
        await me.page.dblclick("button[value=answer]")
        await me.reads("Step 2 of 2")

        async def arrived() -> bool:
            return await texts_to(me, number) > 0

        await until(arrived, "the text to the new number")
        assert await texts_to(me, owner.number) == seen + 1
        assert await texts_to(me, number) == 1
        assert await hint_in_force(whole, owner) == owner.number[-2:]


async def test_the_way_out_for_a_lost_phone(computer: Computers, household: Household) -> None:
    """M15: the page explains, with the account manager's name and address."""
    async with computer() as me:
        await me.log_in(household.owner)
        await me.open("/account")
        await me.page.get_by_role("link", name="I no longer have this number").click()
        assert me.page.url.endswith("/account/help#lost")
        for text in ("only your account manager can help", "Dana Reyes", "dana@platform.example", "Turning it off"):
            await me.reads(text)

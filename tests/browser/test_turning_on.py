"""M10, M11, M13 and M14 of the mission: the owner turns two-factor on, with scripts and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.browser.settings import (
    asks_in_security,
    code_to,
    household_off,
    is_on,
    log_in_without_code,
    new_number,
    press,
    stale_password,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.whole_stack import WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


async def test_save_waits_for_the_number(computer: Computers, whole: WholeStack) -> None:
    """M10, M14: tick, number, code, one Save; nothing changes before it, and the next log-in obeys."""
    household, number = await household_off(whole, missing=[0]), new_number()
    async with computer() as me:
        await log_in_without_code(me, household.owner)
        await me.open("/account")
        await me.page.check("#two_factor")
        await me.page.fill("#number", number)
        await press(me, "Send code")
        await asks_in_security(me)
        assert not await is_on(whole, household)
        code = await code_to(me, number)
        await me.page.fill("#code", "000000" if code != "000000" else "111111")
        await press(me, "Save")
        await expect(me.page.locator(".summary")).to_contain_text("You have 4 tries left")
        assert not await is_on(whole, household)
        await me.page.fill("#code", code)
        await press(me, "Save")
        await me.reads(f"On. Codes go to the number ending {number[-2:]}, since")
        assert await is_on(whole, household)
        assert not await me.page.locator("#security-section input[type=checkbox]").is_enabled()
        await me.reads("Dana Reyes")
    async with computer() as later:
        await later.give_password(household.owner)
        await later.asked_for_code()


async def test_leaving_changes_nothing(computer: Computers, whole: WholeStack) -> None:
    """M10: who leaves with the code unused has turned nothing on, and finds the code box again."""
    household, number = await household_off(whole, missing=[0]), new_number()
    async with computer() as me:
        await log_in_without_code(me, household.owner)
        await me.open("/account")
        await me.page.check("#two_factor")
        await me.page.fill("#number", number)
        await press(me, "Send code")
        await asks_in_security(me)
        await me.open("/contacts")
        await me.open("/account")
        await asks_in_security(me)
        await press(me, "Cancel")
        await me.not_asked_for_code()
        assert not await is_on(whole, household)


async def test_five_wrong_codes_and_again(computer: Computers, whole: WholeStack) -> None:
    """M10: after five wrong codes nothing is on; starting again shows the form, which keeps the given number."""
    household, number = await household_off(whole, missing=[0]), new_number()
    async with computer() as me:
        await log_in_without_code(me, household.owner)
        await me.open("/account")
        await me.page.check("#two_factor")
        await me.page.fill("#number", number)
        await press(me, "Send code")
        await asks_in_security(me)
        code = await code_to(me, number)
        for left in (4, 3, 2, 1, 0):
            await me.page.fill("#code", "000000" if code != "000000" else "111111")
            await press(me, "Save")
            if left:
                await expect(me.page.locator(".summary")).to_contain_text(f"You have {left} tr")
        await me.not_asked_for_code()
        assert not await is_on(whole, household)
        await press(me, "Start again")
        await me.page.check("#two_factor")
        await me.reads("to confirm that it is yours")
        await me.page.get_by_role("link", name="Use another number").click()
        await me.page.fill("#number", "+44 7700 90")
        await press(me, "Send code")
        await expect(me.page.locator("#number-error")).to_contain_text("too few digits")
        await expect(me.page.locator("#number")).to_have_value("+44 7700 90")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Enter a mobile number."),
        ("+61 2 5550 0100", "a landline number"),
        ("+44 7700 90", "too few digits"),
        ("my phone", "does not look like a phone number"),
    ],
)
async def test_what_is_no_mobile_number(computer: Computers, whole: WholeStack, typed: str, said: str) -> None:
    """M11: refused in words, at the top and at the field, with what was typed; nothing is sent."""
    household = await household_off(whole, missing=[0])
    async with computer() as me:
        await log_in_without_code(me, household.owner)
        await me.open("/account")
        await me.page.check("#two_factor")
        await me.page.fill("#number", typed)
        await press(me, "Send code")
        await expect(me.page.locator(".summary")).to_be_focused()
        await expect(me.page.locator(".summary")).to_contain_text(said)
        await expect(me.page.locator("#number-error")).to_contain_text(said)
        await expect(me.page.locator("#number")).to_have_value(typed)
        await expect(me.page.locator("#two_factor")).to_be_checked()
        assert (await me.page.title()).startswith("Error: ")
        await me.not_asked_for_code()
        await me.page.reload()  # what was wrong is said once
        await expect(me.page.locator(".summary")).to_have_count(0)


async def test_the_box_has_to_be_ticked(computer: Computers, whole: WholeStack) -> None:
    """M14: Save without the tick saves nothing."""
    household = await household_off(whole)
    async with computer() as me:
        await log_in_without_code(me, household.owner)
        await me.open("/account")
        await press(me, "Save")
        await expect(me.page.locator(".summary")).to_contain_text("Tick the box")
        assert not await is_on(whole, household)
        await me.page.check("#two_factor")
        await press(me, "Save")
        await me.reads("Two-factor authentication is on.")
        assert await is_on(whole, household)


async def test_who_lacks_a_number_blocks(computer: Computers, whole: WholeStack) -> None:
    """M13: Save names who lacks a number, with the way to give it; who has not confirmed is only warned of."""
    household, number = await household_off(whole, missing=[1], given=[2]), new_number()
    lacking, waiting = household.managed
    async with computer() as me:
        await log_in_without_code(me, household.owner)
        await me.open("/account")
        await expect(me.page.locator("#security-section")).to_contain_text(waiting.name)
        await me.page.check("#two_factor")
        await press(me, "Save")
        await expect(me.page.locator(".summary")).to_contain_text(f"{lacking.name} has no mobile number.")
        await expect(me.page.locator(".summary")).not_to_contain_text(waiting.name)
        assert not await is_on(whole, household)
        await me.page.locator(".summary a").click()
        await expect(me.page.locator("h1")).to_contain_text(lacking.name)
        await me.page.fill("#number", number)
        await press(me, "Save")
        await me.reads(f"{lacking.name} has the number")
        await me.page.check("#two_factor")
        await press(me, "Save")
        await me.reads("Two-factor authentication is on.")
    async with computer() as theirs:  # the first code confirms it
        await theirs.give_password(lacking)
        await theirs.asked_for_code()
        await theirs.give_code(await code_to(theirs, number))
        await theirs.signed_in(lacking)
        await theirs.open("/account")
        await theirs.reads("confirmed on")


async def test_only_ticked_computers_stay_known(computer: Computers, whole: WholeStack) -> None:
    """M2, M14: a computer that was not ticked is asked for a code afterwards, the ticked one is not."""
    household = await household_off(whole)
    async with computer() as other:
        await log_in_without_code(other, household.managed[0])
        strange = other.address
    async with computer() as me:
        await log_in_without_code(me, household.owner)
        await me.open("/account")
        await me.page.check("#two_factor")
        await me.page.uncheck(f"input[name='keep {strange}/32']")
        await press(me, "Save")
        await me.reads("Two-factor authentication is on.")
        mine = me.address
    async with computer(address=mine) as again:
        await again.give_password(household.owner)
        await again.signed_in(household.owner)
    async with computer(address=strange) as again:
        await again.give_password(household.managed[0])
        await again.asked_for_code()


async def test_the_password_is_asked_again(computer: Computers, whole: WholeStack) -> None:
    """M10: after five minutes the password first; then what was typed is still there."""
    household, number = await household_off(whole, missing=[0]), new_number()
    async with computer() as me:
        await log_in_without_code(me, household.owner)
        await stale_password(whole, household.owner)
        await me.open("/account")
        await me.page.check("#two_factor")
        await me.page.fill("#number", number)
        await press(me, "Send code")
        await expect(me.page.locator("h1")).to_have_text("Enter your password")
        await me.page.fill("#password", "wrong")
        await press(me, "Continue")
        await expect(me.page.locator(".summary")).to_contain_text("That password is not right")
        await me.page.fill("#password", household.owner.password)
        await press(me, "Continue")
        await expect(me.page.locator("#number")).to_have_value(number)
        await press(me, "Send code")
        await asks_in_security(me)


async def test_a_managed_user_turns_nothing_on(computer: Computers, whole: WholeStack) -> None:
    """M13: the page offers a managed user no box, and says who can."""
    household = await household_off(whole)
    async with computer() as me:
        await log_in_without_code(me, household.managed[0])
        await me.open("/account")
        await me.reads("Only the account owner can turn two-factor authentication on.")
        await expect(me.page.locator("#two_factor")).to_have_count(0)
        await me.open(f"/account/users/{household.managed[1].user_id}/number")
        await me.reads("The address may be mistyped")

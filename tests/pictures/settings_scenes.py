"""Pictures of the settings pages: turning two-factor on, numbers, the password, help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.browser.settings import (
    asks_in_security,
    code_to,
    household_off,
    log_in_without_code,
    new_number,
    press,
    stale_password,
    texts_to,
)

if TYPE_CHECKING:
    from tests.pictures.walk import Walk


async def turning_on(walk: Walk) -> None:
    """Show the Overview from off to on: who lacks a number, what is refused, the code and the one Save."""
    household = await household_off(walk.whole, missing=[0, 1], given=[2], for_show=True)
    number = new_number()
    async with walk.computer() as me:
        await log_in_without_code(me, household.owner)
        await me.open("/account")
        await walk.take(me, "overview-off")
        await me.page.check("#two_factor")
        await press(me, "Send code")
        await expect(me.page.locator(".summary")).to_be_visible()
        await walk.take(me, "overview-blocked")
        await me.open(f"/account/users/{household.managed[0].user_id}/number")
        await me.page.fill("#number", "+44 20 7946 0000")
        await press(me, "Save")
        await walk.take(me, "number-refused")
        await me.page.fill("#number", new_number())
        await press(me, "Save")
        await me.reads("has the number")
        await me.page.check("#two_factor")
        await me.page.fill("#number", number)
        await press(me, "Send code")
        await asks_in_security(me)
        await walk.take(me, "overview-code")
        await me.page.fill("#code", await code_to(me, number))
        await press(me, "Save")
        await me.reads("Two-factor authentication is on.")
        await walk.take(me, "overview-on")


async def numbers(walk: Walk) -> None:
    """Show how a number is changed, with the password and both codes; the help; what a managed user sees."""
    household = await walk.whole.household(for_show=True)
    owner, number = household.owner, new_number()
    async with walk.computer() as me:
        await me.log_in(owner)
        await stale_password(walk.whole, owner)
        await me.open("/account/number")
        await walk.take(me, "password-again")
        await me.page.fill("#password", owner.password)
        await press(me, "Continue")
        await walk.take(me, "number-change")
        seen = await texts_to(me, owner.number)
        await me.page.fill("#number", number)
        await press(me, "Send code")
        await me.reads("Step 1 of 2")
        await me.asked_for_code()
        await walk.take(me, "number-step-1")
        await me.give_code(await code_to(me, owner.number, seen))
        await me.reads("Step 2 of 2")
        await walk.take(me, "number-step-2")
        await me.give_code(await code_to(me, number))
        await me.reads("is confirmed")
        await walk.take(me, "number-changed")
        await me.open("/account/help")
        await walk.take(me, "help")
    async with walk.computer() as theirs:
        await theirs.log_in(household.managed[0])
        await theirs.open("/account")
        await walk.take(theirs, "overview-managed")

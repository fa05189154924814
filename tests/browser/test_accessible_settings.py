"""The settings pages are usable: axe finds nothing in any state, nothing overflows at 320 px, keys lead everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.browser.accessible import fit, looks, with_scripts
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
    from collections.abc import Callable

    from tests.support.whole_stack import Household, WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


@looks
async def test_turning_on(computer: Computers, whole: WholeStack, look: dict[str, Any]) -> None:
    """The Overview before, with problems, with the code box, and on."""
    household, number = await household_off(whole, missing=[0, 1], given=[2]), new_number()
    async with computer(**look) as me:
        await log_in_without_code(me, household.owner)
        await me.open("/account")
        await fit(me, "off")
        await me.page.check("#two_factor")
        await fit(me, "ticked")
        await me.page.fill("#number", "+44 20 7946 0000")
        await press(me, "Send code")
        await expect(me.page.locator(".summary")).to_be_visible()
        await fit(me, "somebody lacks a number")
        await me.open(f"/account/users/{household.managed[0].user_id}/number")
        await fit(me, "a number for another")
        await me.page.fill("#number", "letters")
        await press(me, "Save")
        await fit(me, "refused")
        await me.page.fill("#number", new_number())
        await press(me, "Save")
        await me.reads("has the number")
        await fit(me, "given")
        await me.page.check("#two_factor")
        await me.page.fill("#number", number)
        await press(me, "Send code")
        await asks_in_security(me)
        await fit(me, "code box")
        await me.page.fill("#code", await code_to(me, number))
        await press(me, "Save")
        await me.reads("Two-factor authentication is on.")
        await fit(me, "on")


@looks
async def test_numbers_and_help(
    computer: Computers, whole: WholeStack, household: Household, look: dict[str, Any]
) -> None:
    """One's own number, the password, the help; and what a managed user sees."""
    owner, number = household.owner, new_number()
    async with computer(**look) as me:
        await me.log_in(owner)
        await stale_password(whole, owner)
        await me.open("/account/number")
        await fit(me, "password")
        await press(me, "Continue")
        await fit(me, "no password")
        await me.page.fill("#password", owner.password)
        await press(me, "Continue")
        await fit(me, "change")
        seen = await texts_to(me, owner.number)
        await me.page.fill("#number", number)
        await press(me, "Send code")
        await me.asked_for_code()
        await me.page.locator("main details summary").click()
        await fit(me, "step 1")
        await me.give_code("letters")
        await fit(me, "off form")
        await me.give_code(await code_to(me, owner.number, seen))
        await me.reads("Step 2 of 2")
        await fit(me, "step 2")
        await press(me, "Cancel")
        await me.open("/account/help")
        await fit(me, "help")
    async with computer(**look) as theirs:
        await theirs.log_in(household.managed[0])
        await theirs.open("/account")
        await fit(theirs, "managed")


@with_scripts
async def test_keys_alone(computer: Computers, whole: WholeStack) -> None:
    """Turning on without a mouse: the problem has the focus, its link leads to the field, Enter sends."""
    household, number = await household_off(whole, missing=[0]), new_number()
    async with computer() as me:
        await log_in_without_code(me, household.owner)
        await me.open("/account")
        await me.page.locator("#two_factor").focus()
        await me.page.keyboard.press("Space")
        await me.page.keyboard.press("Tab")
        await expect(me.page.locator("#number")).to_be_focused()
        await me.page.keyboard.type("12")
        await me.page.keyboard.press("Enter")
        await expect(me.page.locator(".summary")).to_be_focused()
        await me.page.keyboard.press("Tab")
        await me.page.keyboard.press("Enter")
        await expect(me.page.locator("#number")).to_be_focused()
        await me.page.keyboard.press("Control+A")
        await me.page.keyboard.type(number)
        await me.page.keyboard.press("Enter")
        await asks_in_security(me)
        await expect(me.page.locator("#code")).to_be_focused()
        await me.page.keyboard.type(await code_to(me, number))
        await me.page.keyboard.press("Enter")
        await me.reads("Two-factor authentication is on.")


@with_scripts
async def test_german_words(computer: Computers, whole: WholeStack) -> None:
    """Everything of the Overview in German, times too."""
    household = await household_off(whole, missing=[1])
    async with computer(locale="de-AT", timezone_id="Europe/Vienna") as me:
        await log_in_without_code_in_german(me, household)
        await me.open("/account")
        await me.reads("Zwei-Faktor-Anmeldung")
        await me.reads("Das war ich nicht")
        await me.page.check("#two_factor")
        await press(me, "Speichern")
        await expect(me.page.locator(".summary")).to_contain_text("hat keine Mobilnummer")


async def log_in_without_code_in_german(me: Any, household: Household) -> None:
    """Log in and find the German greeting."""
    await me.give_password(household.owner)
    await expect(me.page.locator("h1")).to_contain_text("Willkommen")

"""The console, and a number after a reset, in every state: axe finds nothing, nothing overflows at 320 px."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.browser.accessible import fit, looks, with_scripts
from tests.browser.console import Console
from tests.support.customer_calls import asked, run_out
from tests.support.whole_stack import new_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.person import Computer
    from tests.support.whole_stack import Household, WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


@looks
async def test_console_pages(
    computer: Computers, whole: WholeStack, household: Household, look: dict[str, Any]
) -> None:
    """From the search to what was done, with what is missing and what is wrong."""
    async with computer(**look) as me:
        console = Console(me, await whole.manager())
        await console.log_in()
        await fit(me, "find")
        await console.find("nobody@example.com")
        await fit(me, "nobody found")
        await console.find(household.owner.email)
        await expect(me.page.locator("h1")).to_have_text("Account")
        await fit(me, "account")
        await console.open_act(household, f"users/{household.owner.user_id}/reset")
        await fit(me, "form")
        await console.fill_in(reason="", ticket="")
        await me.reads("Enter the reason.")
        await fit(me, "form with problems")
        await console.fill_in()
        await me.asked_for_code()
        await fit(me, "code box")
        await me.give_code("letters")
        await me.reads("Enter the digits of the code")
        await fit(me, "off form")
        await me.give_code(await console.code())
        await me.reads("a second account manager is needed")
        await fit(me, "recorded")
        await console.act(household, "off")
        await me.reads("Two-factor authentication is off for this account")
        await fit(me, "done")
        await me.page.goto(f"{whole.console}/manager/acts?all=1")
        await fit(me, "acts")
        await console.find(household.owner.email)
        await me.reads("Held until")
        await fit(me, "held exports")


@looks
async def test_pages_of_requests(
    computer: Computers, whole: WholeStack, household: Household, look: dict[str, Any]
) -> None:
    """The account with nothing asked for and with requests, the lists, and the time lines of three ends."""
    owner, person = household.owner, household.managed[0]
    async with computer(**look) as me, computer() as mine, computer() as theirs:
        console = Console(me, await whole.manager())
        await console.log_in()
        await console.find(owner.email)
        await me.reads("Nothing was asked for in the last 30 days.")
        await fit(me, "account without requests")
        await mine.log_in(owner)
        waits = await asked(whole, person, partial(theirs.give_password, person))
        await theirs.asked_for_code()
        await console.find(owner.email)
        await me.reads(f"Log-in: {person.name}")
        await fit(me, "account with requests")
        await me.page.click("text=More requests")
        await me.reads("the newest first")
        await fit(me, "requests")
        await me.page.click(f"main a[href$='{waits}']")
        await me.reads("Waits for the code. 5 tries are left.")
        await fit(me, "request that waits")
        await run_out(whole, waits)
        await me.page.click("text=Look again")
        await me.reads("Refused: the right code was not entered in time.")
        await fit(me, "request that was refused")
        await me.page.click("text=Back to the account")
        await me.page.click(f"main a[href$='requests?user={owner.user_id}']")
        await me.reads(f"Recent requests of {owner.name}")
        await fit(me, "requests of a member")
        await me.page.click(f"text=Log-in: {owner.name}")
        await me.reads("Allowed: the first code that was entered was right.")
        await fit(me, "request that was granted")


@looks
async def test_setup_pages(computer: Computers, whole: WholeStack, household: Household, look: dict[str, Any]) -> None:
    """The number's form, its problem, its code box, and the log-in with the message."""
    person = household.managed[1]
    async with computer() as office, computer(address=new_address(), **look) as me:
        console = Console(office, await whole.manager())
        await console.log_in()
        await console.act(household, f"users/{person.user_id}/reset", anywhere=True)
        await office.reads("They have 24 hours")
        await me.give_password(person)
        await me.reads("An account manager has reset your number")
        await fit(me, "number")
        await me.page.fill("#number", "12")
        await me.page.click("button[value=send]")
        await me.page.wait_for_selector("#number-error")
        await fit(me, "number refused")
        before = len(await whole.texts(person.number, "confirm this number"))
        await me.page.fill("#number", person.number)
        await me.page.click("button[value=send]")
        await me.asked_for_code()
        await fit(me, "code box")
        await me.give_code(await whole.code(person.number, "confirm this number", before + 1))
        await me.reads("Your number is confirmed")
        await fit(me, "log-in again")


@with_scripts
async def test_keys_alone(computer: Computers, whole: WholeStack, household: Household) -> None:
    """From the log-in to an act done without a mouse: Tab leads to each field and link, Enter sends."""
    async with computer() as me:
        console = Console(me, await whole.manager())
        me.texts_before[console.manager.number] = len(await whole.texts(console.manager.number))
        await me.page.goto(f"{whole.console}/login")
        await expect(me.page.locator("#email")).to_be_focused()
        await me.page.keyboard.type(console.manager.email)
        await _tab_to(me, "#password")
        await me.page.keyboard.type(console.manager.password)
        await me.page.keyboard.press("Enter")
        await expect(me.page.locator("#code")).to_be_focused()
        await me.page.keyboard.type(await console.code())
        await me.page.keyboard.press("Enter")
        await me.reads("You logged in with a code")
        await _tab_to(me, "#account")
        await me.page.keyboard.type(household.owner.email)
        await me.page.keyboard.press("Enter")
        await expect(me.page.locator("h1")).to_have_text("Account")
        await _tab_to(me, f"a[href$='requests?user={household.owner.user_id}']")
        await me.page.keyboard.press("Enter")
        await me.reads("Nothing was asked for in the last 30 days.")
        await _tab_to(me, f"main a[href$='/accounts/{household.account_id}']")
        await me.page.keyboard.press("Enter")
        await expect(me.page.locator("h1")).to_have_text("Account")
        await _tab_to(me, "a[href$='/off']")
        await me.page.keyboard.press("Enter")
        await me.page.wait_for_url("**/off")
        await _tab_to(me, "#ticket")
        await me.page.keyboard.press("Enter")
        await expect(me.page.locator(".summary")).to_be_focused()
        await _tab_to(me, ".summary a")
        await me.page.keyboard.press("Enter")
        await expect(me.page.locator("#reason")).to_be_focused()
        await me.page.keyboard.type("asked by telephone, called back")
        await _tab_to(me, "#ticket")
        await me.page.keyboard.type("SUP-7")
        await me.page.keyboard.press("Enter")
        await expect(me.page.locator("#code")).to_be_focused()
        await me.page.keyboard.type(await console.code())
        await me.page.keyboard.press("Enter")
        await me.reads("Two-factor authentication is off for this account")


async def _tab_to(me: Computer, selector: str, within: int = 40) -> None:
    """Press Tab until the focus is there."""
    for _ in range(within):
        if await me.page.evaluate("at => document.activeElement.matches(at)", selector):
            return
        await me.page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {selector} on {me.page.url}")

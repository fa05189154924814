"""The console, and a number after a reset, in every state: axe finds nothing, nothing overflows at 320 px."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.browser.console import Console
from tests.browser.test_accessible_pages import fit, with_scripts
from tests.support.whole_stack import new_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.whole_stack import Household, WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser, with_scripts]


@pytest.fixture(params=[{"width": 320}, {"width": 1100, "color_scheme": "dark"}], ids=["narrow", "dark"])
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Say what the page is looked at with."""
    return dict(request.param)


async def test_console_pages(
    computer: Computers, whole: WholeStack, household: Household, look: dict[str, Any]
) -> None:
    """From the search to what was done, with what is missing and what is wrong."""
    async with computer(**look) as me:
        console = Console(me, await whole.manager())
        await console.log_in()
        await fit(me.page, "find")
        await console.find("nobody@example.com")
        await fit(me.page, "nobody found")
        await console.find(household.owner.email)
        await expect(me.page.locator("h1")).to_have_text("Account")
        await fit(me.page, "account")
        await console.open_act(household, f"users/{household.owner.user_id}/reset")
        await fit(me.page, "form")
        await console.fill_in(reason="", ticket="")
        await me.reads("Enter the reason.")
        await fit(me.page, "form with problems")
        await console.fill_in()
        await me.asked_for_code()
        await fit(me.page, "code box")
        await me.give_code("letters")
        await me.reads("Enter the digits of the code")
        await fit(me.page, "off form")
        await me.give_code(await console.code())
        await me.reads("a second account manager is needed")
        await fit(me.page, "recorded")
        await console.act(household, "off")
        await me.reads("Two-factor authentication is off for this account")
        await fit(me.page, "done")
        await me.page.goto(f"{whole.console}/manager/acts?all=1")
        await fit(me.page, "acts")
        await console.find(household.owner.email)
        await me.reads("Held until")
        await fit(me.page, "held exports")


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
        await fit(me.page, "number")
        await me.page.fill("#number", "12")
        await me.page.click("button[value=send]")
        await me.page.wait_for_selector("#number-error")
        await fit(me.page, "number refused")
        before = len(await whole.texts(person.number, "confirm this number"))
        await me.page.fill("#number", person.number)
        await me.page.click("button[value=send]")
        await me.asked_for_code()
        await fit(me.page, "code box")
        await me.give_code(await whole.code(person.number, "confirm this number", before + 1))
        await me.reads("Your number is confirmed")
        await fit(me.page, "log-in again")

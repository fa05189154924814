"""Every page and state is usable: axe finds nothing, nothing overflows at 320 px, keys lead everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.browser.accessible import fit, looks, with_scripts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.whole_stack import Household

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


@looks
async def test_log_in_pages(computer: Computers, household: Household, look: dict[str, Any]) -> None:
    """The log-in in each state that a person can bring about."""
    async with computer(**look) as me:
        await me.open("/login")
        await fit(me, "log-in")
        await me.give_password(household.owner, "wrong")
        await fit(me, "wrong password")
        await me.give_password(household.owner)
        await me.asked_for_code()
        await fit(me, "code box")
        await me.give_code("letters")
        await me.reads("Enter the digits of the code")
        await fit(me, "off form")
        code = await me.read_code(household.owner)
        for left in (4, 3, 2, 1):
            await me.give_code("000000" if code != "000000" else "111111")
            await me.reads(f"You have {left} tr")
        await fit(me, "wrong code")
        await me.give_code("000000" if code != "000000" else "111111")
        await me.reads("entered wrong too many times")
        await fit(me, "over")


@looks
async def test_signed_in_pages(computer: Computers, household: Household, look: dict[str, Any]) -> None:
    """Everything behind the log-in."""
    async with computer(**look) as me:
        await me.log_in(household.owner)
        for path in ("/", "/account", "/contacts", f"/contacts?list={household.list_id}", "/phone", "/nowhere"):
            await me.open(path)
            await fit(me, path)
        await me.open("/")
        await me.page.hover(".menu .who")
        await fit(me, "the menu")
        await me.ask_export(household)
        await fit(me, "export's code box")
        await me.give_code(await me.read_code(household.owner, nth=2))
        await me.reads("Your file is ready")
        await fit(me, "ready")
        await me.open("/")
        await me.reads("ready for another")
        await fit(me, "start page with exports")
        await me.ask_export(household)
        await me.page.click("button[value=cancel]")
        await me.reads("You cancelled the export")
        await fit(me, "cancelled")


@looks
async def test_console_pages(computer: Computers, look: dict[str, Any]) -> None:
    """The account managers' log-in."""
    async with computer(**look) as me:
        await me.page.goto(me.whole.console)
        await me.reads("Only account managers log in here")
        await fit(me, "console")


@with_scripts
async def test_keys_alone(computer: Computers, household: Household) -> None:
    """A log-in without a mouse: the first field has the focus, Enter sends, an error brings the focus back."""
    async with computer() as me:
        await me.open("/login")
        await expect(me.page.locator("#email")).to_be_focused()
        await me.page.keyboard.type(household.owner.email)
        await me.page.keyboard.press("Tab")
        await me.page.keyboard.type(household.owner.password)
        await me.page.keyboard.press("Enter")
        await me.asked_for_code()
        await expect(me.page.locator("#code")).to_be_focused()
        await me.page.keyboard.type("12")
        await me.page.keyboard.press("Enter")
        await me.reads("Enter the digits of the code")
        await expect(me.page.locator("#code")).to_be_focused()
        assert await me.page.get_attribute("#code", "aria-invalid") == "true"
        await me.page.keyboard.type(await me.read_code(household.owner))
        await me.page.keyboard.press("Enter")
        await me.signed_in(household.owner)


@with_scripts
async def test_german_words(computer: Computers, household: Household) -> None:
    """Accept-Language chooses the words of the page."""
    async with computer(locale="de-AT") as me:
        await me.give_password(household.owner)
        await me.asked_for_code()
        await me.reads("geben Sie den Code aus der SMS ein")
        assert await me.page.get_attribute("html", "lang") == "de"


@with_scripts
async def test_the_code_field(computer: Computers, household: Household) -> None:
    """One field that phones fill in and people can paste into; it is never sent by itself."""
    async with computer() as me:
        await me.give_password(household.owner)
        await me.asked_for_code()
        field = me.page.locator("#code")
        for name, value in {"type": "text", "inputmode": "numeric", "autocomplete": "one-time-code"}.items():
            await expect(field).to_have_attribute(name, value)
        assert await field.get_attribute("maxlength") is None
        await field.fill(await me.read_code(household.owner))
        await me.page.wait_for_timeout(4_000)  # longer than the script looks again: what is typed stays, and waits
        await expect(field).not_to_have_value("")
        await me.page.click("button[value=answer]")
        await me.signed_in(household.owner)

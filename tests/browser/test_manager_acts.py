"""M15 of the mission: what the account manager does, through the pages; and a number after a reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.console import REASON, TICKET, Console
from tests.support.whole_stack import new_address, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.whole_stack import Household, WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]

NEW_NUMBER = "+61491570110"


async def test_only_the_account_manager_turns_it_off(
    computer: Computers, whole: WholeStack, household: Household
) -> None:
    """M15: with reason, ticket and code; then a password is enough, from anywhere, and earlier sessions end."""
    async with computer() as mine, computer() as office, computer() as elsewhere:
        await mine.log_in(household.owner)
        console = Console(office, await whole.manager())
        await console.log_in()
        await console.find(household.managed[0].email)
        await office.reads("Two-factor authentication")
        await office.page.click("text=Turn two-factor authentication off")
        await console.fill_in()
        await office.asked_for_code()
        await office.reads("The text has to say")
        await office.give_code(await console.code())
        await office.reads("Two-factor authentication is off for this account")
        await office.reads(REASON)

        async def logged_out() -> bool:
            return not await mine.is_let_in()

        await until(logged_out, "the end of the owner's session")
        await elsewhere.give_password(household.owner)
        await elsewhere.signed_in(household.owner)
        await office.page.goto(f"{whole.console}/manager/acts")
        await office.reads(TICKET)


async def test_members_cannot_turn_it_off(computer: Computers, household: Household) -> None:
    """M15: the owner finds no way to, and a managed user neither; the console's pages are not on their site."""
    for person in (household.owner, household.managed[0]):
        async with computer() as me:
            await me.log_in(person)
            await me.open("/account")
            await me.reads("contact your account manager")
            assert await me.page.locator("text=Turn two-factor authentication off").count() == 0
            for path in ("/manager", f"/manager/accounts/{household.account_id}/off"):
                answer = await me.page.request.get(me.whole.gateway + path)
                assert answer.status == 404
            await me.page.goto(f"{me.whole.console}/manager/accounts/{household.account_id}/off")
            assert me.page.url.endswith("/login")


async def test_reason_and_ticket_are_needed(computer: Computers, whole: WholeStack, household: Household) -> None:
    """M15: what is missing is said at its field, what was typed is still there, and no text leaves."""
    async with computer() as office:
        console = Console(office, await whole.manager())
        await console.log_in()
        await console.open_act(household, "off")
        await console.fill_in(reason=REASON, ticket=" ")
        await office.reads("Enter the ticket.")
        assert await office.page.input_value("#reason") == REASON
        await console.fill_in(reason="", ticket=TICKET)
        await office.reads("Enter the reason.")
        await console.fill_in(reason="x" * 501, ticket="y" * 101)
        await office.reads("Use at most 500 characters")
        assert len(await whole.texts(console.manager.number)) == 1


async def test_a_stolen_console_cookie_does_nothing(
    computer: Computers, whole: WholeStack, household: Household
) -> None:
    """M15: whoever holds the session but not the phone sees no number and can only guess codes."""
    address = new_address()
    async with computer(address=address) as office, computer() as thief:
        await Console(office, manager := await whole.manager()).log_in()
        cookies = await office.page.context.cookies()
        await thief.page.context.add_cookies(cookies)
        stolen = Console(thief, manager)
        await stolen.find(str(household.account_id))
        await thief.reads("Number confirmed")
        content = (await thief.page.content()).replace(" ", "")
        for person in (household.owner, *household.managed):
            assert person.number[-4:] not in content
        await stolen.open_act(household, "off")
        await stolen.fill_in()
        await thief.asked_for_code()
        right = await whole.code(manager.number, nth=2)
        for _ in range(5):
            await thief.give_code("000000" if right != "000000" else "111111")
        await thief.reads("That was the last try")
    async with computer() as me:
        await me.give_password(household.owner)
        await me.asked_for_code()


async def test_a_new_number_after_a_reset(computer: Computers, whole: WholeStack, household: Household) -> None:
    """A managed user's, from a computer of theirs: nothing but the number, then a log-in with the new phone."""
    person, address = household.managed[0], new_address()
    async with computer(address=address) as mine, computer() as office, computer() as elsewhere:
        await mine.log_in(person)
        console = Console(office, await whole.manager())
        await console.log_in()
        await console.act(household, f"users/{person.user_id}/reset")
        await office.reads("They have 24 hours")

        async def logged_out() -> bool:
            return not await mine.is_let_in()

        await until(logged_out, "the end of the user's session")
        await elsewhere.give_password(person)
        await elsewhere.reads("you have not used this computer before")
        await mine.give_password(person)
        await mine.reads("An account manager has reset your number")
        for path in ("/", "/account", "/contacts", "/login", "/account/number"):
            await mine.open(path)
            assert mine.page.url.endswith("/setup"), path
        await mine.page.fill("#number", "12")
        await mine.page.click("button[value=send]")
        await mine.page.wait_for_selector("#number-error")
        before = len(await whole.texts(NEW_NUMBER))
        await mine.page.fill("#number", NEW_NUMBER)
        await mine.page.click("button[value=send]")
        await mine.asked_for_code()
        await mine.give_code(await whole.code(NEW_NUMBER, nth=before + 1))
        await mine.reads("Your number is confirmed. Please log in again.")
        await mine.give_password(person)
        await mine.signed_in(person)
    async with computer() as new:
        await new.give_password(person)
        await new.asked_for_code()
        await new.give_code(await whole.code(NEW_NUMBER, nth=before + 2))
        await new.signed_in(person)


async def test_an_owners_number_takes_two(computer: Computers, whole: WholeStack, household: Household) -> None:
    """The first account manager's act is recorded, a second one's carries it out, from anywhere if both say so."""
    path = f"users/{household.owner.user_id}/reset"
    async with computer() as first, computer() as second, computer() as elsewhere:
        for office, said in ((first, "a second account manager is needed"), (second, "They have 24 hours")):
            console = Console(office, await whole.manager())
            await console.log_in()
            await console.act(household, path, anywhere=True)
            await office.reads(said)
        await first.page.goto(f"{whole.console}/manager/acts")
        await first.reads("Carried out by a second account manager")
        await elsewhere.give_password(household.owner)
        await elsewhere.reads("An account manager has reset your number")


async def test_german(computer: Computers, whole: WholeStack, household: Household) -> None:
    """The same in German."""
    async with computer(locale="de-DE") as office:
        console = Console(office, await whole.manager())
        page = office.page
        await page.goto(f"{whole.console}/login")
        await page.fill("#email", console.manager.email)
        await page.fill("#password", console.manager.password)
        await page.click("main button")
        await office.asked_for_code()
        await office.give_code(await console.code())
        await console.find("niemand@example.com")
        await office.reads("Niemand hat diese E-Mail-Adresse")
        await console.find(household.owner.email)
        await office.reads("Nummer bestätigt")

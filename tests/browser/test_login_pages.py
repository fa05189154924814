"""M1, M2, M4-M7 of the mission in a real browser, with its scripts and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.whole_stack import new_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.whole_stack import Household, WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


async def test_password_alone_opens_nothing(computer: Computers, household: Household) -> None:
    """M1: the right password alone never opens a protected session from a new computer."""
    async with computer() as me:
        await me.give_password(household.owner)
        await me.asked_for_code()
        assert not await me.is_let_in()
        for path in ("/", "/contacts", "/exports/00000000-0000-4000-8000-000000000000"):
            await me.open(path)
            assert me.page.url.endswith(("/login", "/login/code")), path


async def test_two_clicks_on_log_in_send_one_text(computer: Computers, household: Household) -> None:
    """The form is sent twice, with scripts or without; its code opens the session that the browser holds."""
    async with computer() as me:
        await me.open("/login")
        await me.page.fill("#email", household.owner.email)
        await me.page.fill("#password", household.owner.password)
        await me.page.dblclick("main button")
        await me.asked_for_code()
        await me.give_code(await me.read_code(household.owner))
        await me.signed_in(household.owner)
        assert len(await me.whole.texts(household.owner.number)) == 1


async def test_known_computers_go_straight_in(computer: Computers, household: Household) -> None:
    """M2: a new address gets a code; one that the account has used does not, a colleague's counts too."""
    address = new_address()
    async with computer(address=address) as mine:
        await mine.log_in(household.owner)
    async with computer(address=address) as later:
        await later.give_password(household.owner)
        await later.signed_in(household.owner)
        await later.reads("No code was needed")
    async with computer(address=address) as colleague:
        await colleague.give_password(household.managed[0])
        await colleague.signed_in(household.managed[0])
    async with computer() as elsewhere:
        await elsewhere.give_password(household.managed[0])
        await elsewhere.asked_for_code()


async def test_another_accounts_computer_is_new(computer: Computers, whole: WholeStack, household: Household) -> None:
    """M2: an address that another account has used is new to this one."""
    address, other = new_address(), await whole.household()
    async with computer(address=address) as theirs:
        await theirs.log_in(other.owner)
    async with computer(address=address) as mine:
        await mine.give_password(household.owner)
        await mine.asked_for_code()


async def test_wrong_email_and_wrong_password_look_alike(computer: Computers, household: Household) -> None:
    """M4: nobody learns from the page who exists."""
    said = []
    async with computer() as me:
        for email in (household.owner.email, f"nobody.{household.owner.email}"):
            await me.open("/login")
            await me.page.fill("#email", email)
            await me.page.fill("#password", "not the password")
            await me.page.click("main button")
            await me.not_asked_for_code()
            said.append((await me.page.inner_text("[role=alert]"), await me.page.title(), me.page.url))
    assert said[0] == said[1]


async def test_the_code_box_comes_after_the_password(computer: Computers, whole: WholeStack) -> None:
    """M5: the box is shown only after both are right, and only if a code is needed."""
    unprotected = await whole.household(two_factor=False)
    async with computer() as me:
        await me.open("/login/code")
        await me.not_asked_for_code()
        await me.give_password(unprotected.owner, "wrong")
        await me.not_asked_for_code()
        await me.give_password(unprotected.owner)
        await me.signed_in(unprotected.owner)
    assert await whole.texts(unprotected.owner.number) == []


async def test_the_code_goes_to_the_registered_number(
    computer: Computers, whole: WholeStack, household: Household
) -> None:
    """M6: the code goes to that number and nowhere else; the page shows its last two digits only."""
    async with computer() as me:
        await me.give_password(household.managed[1])
        await me.asked_for_code()
        await me.read_code(household.managed[1])
        number = household.managed[1].number
        shown = await me.page.inner_text("main")
        assert f"••{number[-2:]}" in shown
        assert number[3:-2] not in (await me.page.content()).replace(" ", "")
        for other in (household.owner, household.managed[0]):
            assert await whole.texts(other.number) == []


async def test_a_code_opens_once(computer: Computers, household: Household) -> None:
    """M7: guesses and another request's code are refused, the right one opens, once."""
    address = new_address()
    async with computer(address=address) as me, computer(address=address) as thief:
        await me.give_password(household.owner)
        await me.asked_for_code()
        code = await me.read_code(household.owner)
        await me.give_code("000000" if code != "000000" else "111111")
        await me.reads("You have 4 tries left")
        await thief.give_password(household.owner)
        await thief.asked_for_code()
        await thief.give_code(code)  # of the other request
        await thief.reads("This code is not right")
        await me.give_code(f" {code[:3]}-{code[3:]} ")
        await me.signed_in(household.owner)
        await me.open("/login/code")
        await me.not_asked_for_code()
        await thief.give_code(code)
        await thief.reads("This code is not right")


async def test_five_guesses_and_it_is_over(computer: Computers, household: Household) -> None:
    """M7: after five wrong codes the right one opens nothing, and the page says why."""
    async with computer() as me:
        await me.give_password(household.owner)
        await me.asked_for_code()
        code = await me.read_code(household.owner)
        for _ in range(5):
            await me.give_code("000000" if code != "000000" else "111111")
        await me.reads("The code was entered wrong too many times")
        await me.not_asked_for_code()
        assert not await me.is_let_in()


async def test_another_text_and_cancel(computer: Computers, household: Household) -> None:
    """M7: a resend waits its turn and keeps the tries; cancelling ends it, and the code with it."""
    async with computer() as me:
        await me.give_password(household.owner)
        await me.asked_for_code()
        await me.read_code(household.owner)
        await me.reads("You can ask for another in")
        if await me.page.locator("button[value=resend]").is_enabled():  # without a script the server says it
            await me.page.click("button[value=resend]")
            await me.reads("It is too early for another text")
        await me.page.click("button[value=cancel]")
        await me.reads("You cancelled the log-in")
        assert me.page.url.endswith("/login")
        await me.open("/login/code")
        await me.not_asked_for_code()


async def test_asking_twice_keeps_the_request(computer: Computers, whole: WholeStack, household: Household) -> None:
    """M5: giving the password again in the same browser sends no second text and keeps the code."""
    async with computer() as me:
        await me.give_password(household.owner)
        await me.asked_for_code()
        code = await me.read_code(household.owner)
        await me.give_password(household.owner)
        await me.asked_for_code()
        assert len(await whole.texts(household.owner.number)) == 1
        await me.give_code(code)
        await me.signed_in(household.owner)


async def test_log_out(computer: Computers, household: Household) -> None:
    """M1: logged out means out, also for a browser that goes back."""
    async with computer() as me:
        await me.log_in(household.owner)
        await me.page.hover(".menu .who")
        await me.page.click("form[action='/logout'] button")
        await me.reads("You are logged out")
        assert me.page.url.endswith("/login")
        assert not await me.is_let_in()

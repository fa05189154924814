"""Pictures of the account manager's console, and of what a user sees after a reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.console import Console
from tests.browser.settings import new_number
from tests.support.whole_stack import until

if TYPE_CHECKING:
    from tests.pictures.walk import Walk


async def manager_acts(walk: Walk) -> None:
    """Show the way from a telephone call to an account that is off, and what was done."""
    household = await walk.whole.household(for_show=True)
    async with walk.computer() as me:
        console = Console(me, await walk.whole.manager())
        await console.log_in()
        await walk.take(me, "console-find")
        await console.find(household.owner.email)
        await walk.take(me, "console-account")
        await console.open_act(household, "off")
        await console.fill_in(reason="", ticket="")
        await me.reads("Enter the reason.")
        await walk.take(me, "console-act-problems")
        await console.fill_in()
        await me.asked_for_code()
        await walk.take(me, "console-act-code")
        await me.give_code(await console.code())
        await me.reads("Two-factor authentication is off for this account")
        await walk.take(me, "console-act-done")
        await me.page.goto(f"{walk.whole.console}/manager/acts")
        await walk.take(me, "console-acts")


async def after_a_reset(walk: Walk) -> None:
    """Show what a right password leads to while a reset is open."""
    household = await walk.whole.household(for_show=True)
    person = household.managed[0]
    async with walk.computer() as mine, walk.computer() as office:
        await mine.log_in(person)
        console = Console(office, await walk.whole.manager())
        await console.log_in()
        await console.act(household, f"users/{person.user_id}/reset")

        async def logged_out() -> bool:
            return not await mine.is_let_in()

        await until(logged_out, "the end of the user's session")
        await mine.give_password(person)
        await mine.reads("An account manager has reset your number")
        await walk.take(mine, "setup")
        await mine.page.fill("#number", new_number())
        await mine.page.click("button[value=send]")
        await mine.asked_for_code()
        await walk.take(mine, "setup-code")

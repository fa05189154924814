"""Pictures of the account manager's console, and of what a user sees after a reset."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.browser.console import Console
from tests.browser.settings import new_number
from tests.support.customer_calls import asked, run_out, stopped, too_late, undeliverable
from tests.support.whole_stack import new_address, until

if TYPE_CHECKING:
    from uuid import UUID

    from tests.pictures.walk import Walk

# All pictures together have a limit: of two requests the whole page is taken, of the others what is said of them.
_LOOK_OF_WHOLE = {"expired": "phone-dark", "suppressed": "desktop-light"}


async def manager_acts(walk: Walk) -> None:
    """Show the way from a telephone call to an account that is off, and what was done."""
    household = await walk.whole.household(for_show=True)
    async with walk.computer() as me:
        console = Console(me, await walk.whole.manager())
        await console.log_in()
        await walk.take(me, "console-find")
        await console.find(household.owner.email)
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


async def customers_call(walk: Walk) -> None:
    """Show what an account manager reads of a customer's requests, one of each end."""
    whole = walk.whole
    household = await whole.household(for_show=True)
    owner, (max_, mia) = household.owner, household.managed
    address = new_address()
    shown: dict[str, UUID] = {}
    async with walk.computer(address) as mine:
        shown["granted"] = await asked(whole, owner, partial(mine.log_in, owner))
        shown["export"] = await asked(whole, owner, partial(mine.ask_export, household))
        await mine.give_code(await mine.read_code(owner, 2))
        await mine.reads("Your file is ready")
    async with walk.computer(address) as again:
        shown["known"] = await asked(whole, owner, partial(again.give_password, owner))
    async with walk.computer() as theirs:
        shown["expired"] = await asked(whole, max_, partial(theirs.give_password, max_))
        await theirs.read_code(max_)
        await run_out(whole, shown["expired"])
        shown["suppressed"] = await stopped(whole, max_, partial(theirs.give_password, max_))
        shown["stale"] = await too_late(whole, max_)
    async with walk.computer() as guesser:
        shown["exhausted"] = await asked(whole, mia, partial(guesser.give_password, mia))
        code = await guesser.read_code(mia)
        for _ in range(5):
            await guesser.give_code("000000" if code != "000000" else "111111")
        shown["undeliverable"] = await undeliverable(whole, mia, partial(guesser.give_password, mia))
        shown["waiting"] = await asked(whole, mia, partial(guesser.give_password, mia))
        await guesser.asked_for_code()
    async with walk.computer() as office:
        console = Console(office, await whole.manager())
        await console.log_in()
        await console.find(owner.email)
        await walk.take(office, "console-account")
        path = f"{whole.console}/manager/accounts/{household.account_id}/requests"
        await office.page.goto(path)
        await walk.take(office, "console-requests", ("desktop-light", "phone-dark"))
        for name, request_id in shown.items():
            await office.page.goto(f"{path}/{request_id}")
            await office.reads("What happened, step by step")
            look, part = _LOOK_OF_WHOLE.get(name, "phone-light"), None if name in _LOOK_OF_WHOLE else "main .card"
            await walk.take(office, f"console-request-{name}", (look,), part)


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

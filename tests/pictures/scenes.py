"""Who walks where for the pictures. To show more pages, write a scene and add it to SCENES."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.pictures.console_scenes import after_a_reset, customers_call, manager_acts
from tests.pictures.settings_scenes import numbers, turning_on
from tests.support.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.pictures.walk import Walk
    from tests.support.whole_stack import Household

OLDER = """
UPDATE verifier.send s SET issued_at = s.issued_at - interval '61 s' FROM verifier.challenge c
 WHERE c.challenge_id = s.challenge_id AND c.user_id = $1
"""
EXPIRED = "UPDATE verifier.challenge SET expires_at = clock_timestamp() WHERE user_id = $1 AND closed_at IS NULL"


async def log_in(walk: Walk) -> None:
    """Show the log-in from the empty form to the code and into the account."""
    household = await walk.whole.household(for_show=True)
    async with walk.computer() as me:
        await me.open("/login")
        await walk.take(me, "login")
        await me.give_password(household.owner, "wrong")
        await me.reads("is not right")
        await walk.take(me, "login-wrong-password")
        await me.give_password(household.owner)
        await me.asked_for_code()
        await me.reads("We sent a code")
        await walk.take(me, "code")
        code = await me.read_code(household.owner)
        await me.give_code(_other_than(code))
        await me.reads("4 tries left")
        await walk.take(me, "code-wrong")
        await me.give_code(code)
        await me.signed_in(household.owner)
        await walk.take(me, "home")
        await me.page.click(".menu summary")  # a tap holds it open at every width; a pointer is over it at one
        await walk.take(me, "menu")
        await me.page.click("form[action='/logout'] button")
        await me.reads("You are logged out")
        await walk.take(me, "logged-out")


async def another_text(walk: Walk) -> None:
    """Further texts, and the code of the first one after the third."""
    household = await walk.whole.household(for_show=True)
    async with walk.computer() as me:
        await me.give_password(household.owner)
        await me.asked_for_code()
        first = await me.read_code(household.owner)
        for nth in (2, 3):
            async with walk.whole.database() as db:
                await db.execute(OLDER, household.owner.user_id)
            await me.open("/login/code")
            await me.page.click("button[value=resend]")
            await me.read_code(household.owner, nth)
        await me.reads("Use the newest text")
        await walk.take(me, "code-newest")
        await me.give_code(first)
        await me.reads("This is an older code")
        await walk.take(me, "code-older")


async def ends_of_a_code(walk: Walk) -> None:
    """Expired, exhausted, cancelled elsewhere, locked: each with a sentence of its own."""
    expired, guessed = await walk.whole.household(for_show=True), await walk.whole.household(for_show=True)
    async with walk.computer() as me:
        await me.give_password(expired.owner)
        await me.read_code(expired.owner)
        async with walk.whole.database() as db:
            await db.execute(EXPIRED, expired.owner.user_id)
        await me.reads("Your code has expired")
        await walk.take(me, "denied-expired")
    async with walk.computer() as me:
        for nth in (1, 2):
            await me.give_password(guessed.owner)
            await me.asked_for_code()
            code = await me.read_code(guessed.owner, nth)
            for _ in range(5):
                await me.give_code(_other_than(code))
            await me.reads("That was the last try")
            if nth == 1:
                await walk.take(me, "denied-exhausted")
        await me.give_password(guessed.owner)
        await me.reads("Too many wrong codes")
        await walk.take(me, "denied-locked")


async def exports(walk: Walk) -> None:
    """Show lists, an export that waits, its file, one that was cancelled, and the start page that lists them."""
    household = await walk.whole.household(for_show=True)
    async with walk.computer() as me:
        await me.log_in(household.owner)
        await me.open("/contacts")
        await walk.take(me, "contacts")
        await me.ask_export(household)
        await me.reads("We sent a code")
        await walk.take(me, "export-code")
        waiting = me.page.url
        await me.page.click("button[value=cancel]")
        await me.reads("You cancelled the export")
        await walk.take(me, "export-cancelled")
        await me.page.goto(waiting)
        await me.reads("This code was cancelled")
        await walk.take(me, "denied-cancelled")
        await me.ask_export(household)
        await me.give_code(await me.read_code(household.owner, 3))
        await me.reads("Your file is ready")
        await walk.take(me, "export-ready")
        await me.page.click(f"text={household.owner.name}")  # nothing of an export is lost by leaving its page
        await walk.take(me, "account")
        await me.ask_export(household)
        await me.open("/")
        await me.reads("waits for your code")
        await walk.take(me, "home-exports")


async def slow_and_away(walk: Walk) -> None:
    """Each part frozen in turn, so that nothing is lost."""
    household: Household = await walk.whole.household(for_show=True)
    async with walk.computer() as me:
        with frozen(walk.whole, "RISK_EVALUATOR"):
            await me.give_password(household.owner)
            await me.reads("We are checking")
            await walk.take(me, "moment")
            await expect(me.page.locator("main")).to_contain_text("longer than usual", timeout=25_000)
            await walk.take(me, "moment-slow")
    async with walk.computer() as me:
        with frozen(walk.whole, "NOTIFIER"):
            await me.give_password(household.managed[0])
            await me.reads("We are sending a code")
            await expect(me.page.locator("main")).to_contain_text("longer than usual", timeout=25_000)
            await walk.take(me, "code-slow")
    async with walk.computer() as me:
        with frozen(walk.whole, "KAFKA"):
            await me.give_password(household.managed[1])
            await me.reads("Not available at this moment")
            await walk.take(me, "unavailable")
        await me.reads("You can go on")
        await walk.take(me, "available-again")


async def others(walk: Walk) -> None:
    """Show what is nowhere, the demonstration's phones, the account managers' log-in."""
    async with walk.computer() as me:
        await me.open("/nowhere")
        await walk.take(me, "not-found")
        await me.open("/phone")
        await walk.take(me, "phones")
        await me.page.goto(f"{walk.whole.console}/login")
        await walk.take(me, "console-login")


def _other_than(code: str) -> str:
    return "000000" if code != "000000" else "111111"


SCENES: tuple[Callable[[Walk], Awaitable[None]], ...] = (
    others,  # first: the page of phones then holds the demonstration's alone
    log_in,
    another_text,
    ends_of_a_code,
    exports,
    slow_and_away,
    turning_on,
    numbers,
    manager_acts,
    customers_call,
    after_a_reset,
)

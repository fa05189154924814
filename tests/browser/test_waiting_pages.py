"""What the pages say while a part of the system is slow or away. Parts are frozen, so nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.whole_stack import Household, WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


async def test_one_moment(computer: Computers, whole: WholeStack, household: Household) -> None:
    """M5: undecided means one moment, not in; the code box comes by itself, with a script or a refresh."""
    async with computer() as me:
        with frozen(whole, "RISK_EVALUATOR"):
            await me.give_password(household.owner)
            await me.reads("We are checking whether a code is needed")
            assert not await me.is_let_in()
            await me.open("/login/code")
        await me.asked_for_code()


async def test_verifier_away(computer: Computers, whole: WholeStack, household: Household) -> None:
    """M1: with the verifier gone even the right code lets nobody in, the page says so, and nothing is lost."""
    async with computer() as me:
        await me.give_password(household.owner)
        await me.asked_for_code()
        code = await me.read_code(household.owner)
        with frozen(whole, "VERIFIER"):
            await me.give_code(code)
            await me.reads("Not available at this moment")
        await me.reads("You can go on")
        await me.page.click("main a.button")
        await me.asked_for_code()
        await me.give_code(code)
        await me.signed_in(household.owner)


async def test_text_in_doubt(computer: Computers, whole: WholeStack, household: Household, *, script: bool) -> None:
    """M6: a text whose sending is in doubt is shown as that."""
    async with computer() as me:
        me.texts_before[household.owner.number] = 0  # nobody can ask for them while SNS is frozen
        with frozen(whole, "SNS"):
            await me.give_password(household.owner)
            await me.asked_for_code()
            if not script:  # only a script looks again while somebody types
                await me.page.wait_for_timeout(8_000)
                await me.open("/login/code")
            await me.reads("may not have left")


async def test_locked(computer: Computers, household: Household) -> None:
    """M7: after ten wrong codes no code is sent for a while, and the page says how long."""
    async with computer() as me:
        for nth in (1, 2):
            await me.give_password(household.managed[0])
            await me.asked_for_code()
            wrong = "999999" if await me.read_code(household.managed[0], nth) != "999999" else "111111"
            for _ in range(5):
                await me.give_code(wrong)
            await me.reads("entered wrong too many times")
        await me.give_password(household.managed[0])
        await me.reads("Too many wrong codes")
        await me.reads("Try again in")
        await me.not_asked_for_code()

"""The account managers' site: theirs alone, with a code every time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.whole_stack import new_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.person import Computer
    from tests.support.whole_stack import Household, WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


async def _give_password(me: Computer, site: str, email: str, password: str) -> None:
    await me.page.goto(f"{site}/login")
    await me.page.fill("#email", email)
    await me.page.fill("#password", password)
    await me.page.click("main button")


async def test_a_code_every_time(computer: Computers, whole: WholeStack) -> None:
    """M1: an account manager is asked for a code from a known computer too, and sees nothing else here yet."""
    address = new_address()
    before = len(await whole.texts(whole["DEMO_MANAGER_NUMBER"]))
    for nth in (1, 2):
        async with computer(address=address) as me:
            await _give_password(me, whole.console, whole["DEMO_MANAGER_EMAIL"], whole["DEMO_MANAGER_PASSWORD"])
            await me.asked_for_code()
            await me.give_code(await whole.code(whole["DEMO_MANAGER_NUMBER"], nth=before + nth))
            await me.reads("You logged in with a code")
            assert me.page.url == f"{whole.console}/manager"


async def test_the_sites_are_apart(computer: Computers, whole: WholeStack, household: Household) -> None:
    """M4: at the other site's log-in a right password is as wrong as any, and no session crosses over."""
    async with computer() as me:
        owner = household.owner
        await _give_password(me, whole.console, owner.email, owner.password)
        await me.reads("The e-mail address or the password is not right")
        await _give_password(me, whole.gateway, whole["DEMO_MANAGER_EMAIL"], whole["DEMO_MANAGER_PASSWORD"])
        await me.reads("The e-mail address or the password is not right")
        await me.log_in(owner)
        await me.page.goto(f"{whole.console}/manager")
        await me.reads("Only account managers log in here")
        assert await me.is_let_in()

"""The Overview: computers, activity, other browsers, people; with scripts and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.browser.settings import press
from tests.support.whole_stack import new_address, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.person import Computer
    from tests.support.whole_stack import Household

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


async def is_out(me: Computer) -> None:
    """Wait until the browser is logged out."""

    async def out() -> bool:
        return not await me.is_let_in()

    await until(out, "the log-out")


async def test_a_forgotten_computer_needs_a_code(computer: Computers, household: Household) -> None:
    """M9, M2: forget one: it is logged out, leaves the list, and the next log-in from it needs a code."""
    address = new_address()
    async with computer(address=address) as theirs, computer() as me:
        await theirs.log_in(household.managed[0])
        await me.log_in(household.owner)
        await me.open("/account")
        await me.page.get_by_role("button", name=f"Forget {address}").click()
        await me.reads("The computer is forgotten")
        await expect(me.page.get_by_role("button", name=f"Forget {address}")).to_have_count(0)
        await is_out(theirs)
        await theirs.give_password(household.managed[0])
        await theirs.asked_for_code()
        assert await me.is_let_in()


async def test_forgetting_all_logs_out_here_too(computer: Computers, household: Household) -> None:
    """M9: as the page says beside the button."""
    async with computer() as me:
        await me.log_in(household.owner)
        await me.open("/account")
        await me.reads("If you forget this computer, you are logged out too.")
        await press(me, "Forget all computers")
        assert me.page.url.endswith("/login")
        await me.give_password(household.owner)
        await me.asked_for_code()


async def test_other_browsers_are_logged_out(computer: Computers, household: Household) -> None:
    """M9: of this user, not of others; this one stays."""
    async with computer() as mine, computer() as old, computer() as theirs:
        await old.log_in(household.owner)
        await theirs.log_in(household.managed[0])
        await mine.log_in(household.owner)
        await mine.open("/account")
        await press(mine, "Log out other browsers")
        await mine.reads("Your other browsers are logged out.")
        assert not await old.is_let_in()
        assert await theirs.is_let_in()


async def test_this_was_not_me(computer: Computers, household: Household) -> None:
    """M9: the place is forgotten, the open code cancelled, the other sessions are over."""
    thief_at = new_address()
    async with computer(address=thief_at) as thief, computer() as me:
        await thief.log_in(household.owner)
        await me.log_in(household.owner)
        async with computer(address=new_address()) as second:
            await second.give_password(household.owner)
            await second.asked_for_code()
            code = await second.read_code(household.owner)
            await me.open("/account")
            await me.reads(thief_at)
            row = me.page.locator("#activity ~ ul > li", has_text=thief_at)
            await row.get_by_role("button").click()
            await me.reads("open codes are cancelled and your other browsers are logged out")
            assert not await thief.is_let_in()
            await second.open("/login/code")
            await second.not_asked_for_code()
            assert code
        await me.open("/account")
        await expect(me.page.get_by_role("button", name=f"Forget {thief_at}")).to_have_count(0)
        await thief.give_password(household.owner)
        await thief.asked_for_code()


async def test_a_row_of_somebody_else_is_none_of_mine(computer: Computers, household: Household) -> None:
    """M9: a form made by hand about a row that is not one's own changes nothing."""
    async with computer() as theirs, computer() as me:
        await theirs.log_in(household.managed[0])
        await me.log_in(household.managed[1])
        token = await me.page.locator("input[name=csrf]").first.get_attribute("value")
        for path, form in {
            "/account/activity": {"place": f"{theirs.address}/32", "at": "2026-01-01T00:00:00+00:00"},
            "/account/computers": {"do": "forget", "place": f"{theirs.address}/32"},
        }.items():
            answer = await me.page.request.post(
                f"{me.whole.gateway}{path}", form={"csrf": str(token), **form}, max_redirects=0
            )
            assert answer.status == 404
        assert await theirs.is_let_in()


async def test_times_are_the_readers(computer: Computers, household: Household, *, script: bool) -> None:
    """M9: with a script in the reader's zone and form, without one in UTC, which the page says."""
    async with computer(timezone_id="Australia/Sydney", locale="en-AU") as me:
        await me.log_in(household.owner)
        await me.open("/account")
        shown = await me.page.locator("#activity ~ ul time").first.inner_text()
        assert ("UTC" in shown) is not script
        if not script:
            await me.reads("All times on this page are UTC.")


async def test_people_and_their_numbers(computer: Computers, household: Household) -> None:
    """M9: an owner sees the last digits of all numbers; a managed user sees whether others have one, not which."""
    async with computer() as owner, computer() as managed:
        await owner.log_in(household.owner)
        await owner.open("/account")
        assert await owner.page.locator("#people-section bdi").count() == 3
        await managed.log_in(household.managed[0])
        await managed.open("/account")
        assert await managed.page.locator("#people-section bdi").count() == 1

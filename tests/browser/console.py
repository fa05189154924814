"""What an account manager does at a computer: log in at the console, find an account, act on it with a code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.person import Computer
    from tests.support.whole_stack import Household, Person

TICKET, REASON = "SUP-1042", "asked by telephone, called back"


@dataclass
class Console:
    """An account manager who sits at a computer. `codes` is how many have come to them because of it."""

    me: Computer
    manager: Person
    codes: int = 0

    async def code(self) -> str:
        """Read the next code that comes."""
        self.codes += 1
        return await self.me.read_code(self.manager, self.codes)

    async def log_in(self) -> None:
        """Log in with a code, as every time."""
        page = self.me.page
        await page.goto(f"{self.me.whole.console}/login")
        await page.fill("#email", self.manager.email)
        await page.fill("#password", self.manager.password)
        await page.click("main button")
        await self.me.asked_for_code()
        await self.me.give_code(await self.code())
        await self.me.reads("You logged in with a code")

    async def find(self, typed: str) -> None:
        """Look for an account."""
        await self.me.page.goto(f"{self.me.whole.console}/manager")
        await self.me.page.fill("#account", typed)
        await self.me.page.click("main form button")

    async def open_act(self, household: Household, path: str) -> None:
        """Open the form of an act."""
        await self.me.page.goto(f"{self.me.whole.console}/manager/accounts/{household.account_id}/{path}")

    async def fill_in(self, *, reason: str = REASON, ticket: str = TICKET, anywhere: bool = False) -> None:
        """Fill the form in and send it."""
        page = self.me.page
        await page.fill("#reason", reason)
        await page.fill("#ticket", ticket)
        if anywhere:
            await page.check("input[value=anywhere]")
        await page.click("main form.stack button")

    async def act(self, household: Household, path: str, *, anywhere: bool = False) -> None:
        """Act, with reason, ticket and the code."""
        await self.open_act(household, path)
        await self.fill_in(anywhere=anywhere)
        await self.me.asked_for_code()
        await self.me.give_code(await self.code())
        await expect(self.me.page.locator("#code")).to_have_count(0)

"""What a person does at a computer: log in, read the phone, type the code, export."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import expect

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.support.whole_stack import Household, Person, WholeStack


@dataclass
class Computer:
    """A browser with cookies of its own, at an address, that runs scripts or none."""

    page: Page
    whole: WholeStack
    address: str
    scripts: bool = True
    texts_before: dict[str, int] = field(default_factory=dict)

    async def open(self, path: str) -> None:
        """Open a page of the gateway; once more if the page before went somewhere by itself at that very moment."""
        for last in (False, True):
            try:
                await self.page.goto(f"{self.whole.gateway}{path}")
            except PlaywrightError as error:
                moved = "ERR_ABORTED" in error.message or "interrupted by another navigation" in error.message
                if last or not moved:
                    raise
            else:
                return

    async def give_password(self, person: Person, password: str | None = None) -> None:
        """Fill in the log-in form and send it."""
        if person.number not in self.texts_before:
            self.texts_before[person.number] = len(await self.whole.texts(person.number))
        await self.open("/login")
        await self.page.fill("#email", person.email)
        await self.page.fill("#password", password or person.password)
        await self.page.click("main button")

    async def read_code(self, person: Person, nth: int = 1) -> str:
        """Read the nth code that came to the person's phone since this computer first gave the password."""
        return await self.whole.code(person.number, nth=self.texts_before.get(person.number, 0) + nth)

    async def give_code(self, code: str) -> None:
        """Type a code and go on."""
        await self.page.fill("#code", code)
        await self.page.click("button[value=answer]")

    async def log_in(self, person: Person, nth: int = 1) -> None:
        """Log in with a code."""
        await self.give_password(person)
        await self.asked_for_code()
        await self.give_code(await self.read_code(person, nth))
        await self.signed_in(person)

    async def ask_export(self, household: Household, file_format: str = "csv") -> None:
        """Go to the list and ask for its export."""
        await self.open("/contacts")
        await self.page.click(f"text={household.list_name}")
        await self.page.check(f"input[value={file_format}]")
        await self.page.click("form[action='/exports'] button")
        await self.asked_for_code()

    async def asked_for_code(self) -> None:
        """Find the code box."""
        await expect(self.page.locator("#code")).to_be_visible()

    async def not_asked_for_code(self) -> None:
        """Find no code box."""
        await expect(self.page.locator("#code")).to_have_count(0)

    async def signed_in(self, person: Person) -> None:
        """Find the signed-in page that greets."""
        await expect(self.page.locator("h1")).to_contain_text(f"Welcome, {person.name}")

    async def reads(self, text: str) -> None:
        """Find a text in the page's main part."""
        await expect(self.page.locator("main")).to_contain_text(text)

    async def is_let_in(self) -> bool:
        """Tell whether a protected page opens for this browser."""
        await self.open("/account")
        return self.page.url.endswith("/account")

"""People on the pages of a stage, with everything they are shown kept for a search."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploy.local.browser import Browser
from tests.support.pages import add_password
from tests.support.people import a_person

if TYPE_CHECKING:
    from deploy.local.browser import Form, Page
    from tests.support.needles import Needles
    from tests.support.people import Person
    from tests.support.stage import Stage

_WITHIN = 60.0


@dataclass
class Watched:
    """A stage, what to search for on it, and what was shown so far."""

    stage: Stage
    needles: Needles
    shown: dict[str, str] = field(default_factory=dict)

    def show(self, what: str, text: str) -> None:
        """Keep something that somebody was shown."""
        self.shown[f"shown {len(self.shown)} {what}"] = text

    async def person(self, password: str, *, confirmed: bool = True) -> Person:
        """Put in somebody who can sign in."""
        person = await a_person(self.stage.db, self.stage.fleet.servers, confirmed=confirmed)
        await add_password(self.stage.db, person, password)
        self.needles.add("number", person.number, person.number.removeprefix("+"))
        self.needles.add("password", password)
        return person

    def computer(self, address: str) -> Computer:
        """Return a browser of its own at an address."""
        return Computer(self, address)


class Computer(Browser):
    """A browser that tells what it was shown, and which secrets it held."""

    def __init__(self, watched: Watched, address: str) -> None:
        super().__init__(watched.stage.fleet.url("gateway"), address)
        self._watched = watched

    async def get(self, path: str) -> Page:
        """Open a page and keep it."""
        return self._kept("GET", await super().get(path))

    async def submit(self, page: Page, form: Form, **values: str) -> Page:
        """Send a form and keep what comes back."""
        return self._kept("POST", await super().submit(page, form, **values))

    def cookies(self) -> dict[str, str]:
        """Return what the browser holds."""
        return {cookie.key: cookie.value for cookie in self._http.cookie_jar}

    def _kept(self, method: str, page: Page) -> Page:
        self._watched.needles.add("session", *self.cookies().values())
        self._watched.show(f"{method} {page.url} {page.status}", f"{page.url}\n{page.body.decode(errors='replace')}")
        return page

    async def give_password(self, person: Person, password: str, email: str | None = None) -> Page:
        """Fill in the log-in form and send it, and wait for what comes of it."""
        page = await self.get("/login")
        form = page.form_with("password")
        assert form is not None, page
        page = await self.submit(page, form, email=email or f"{person.user_id}@example.com", password=password)
        return await self.past_moment(page)

    async def past_moment(self, page: Page) -> Page:
        """Wait as the page itself does while it shows "one moment"."""
        async with asyncio.timeout(_WITHIN):
            while page.state in {"moment", "file"}:
                await asyncio.sleep(0.1)
                page = await self.get(page.url)
        return page

    async def type_code(self, page: Page, code: str) -> Page:
        """Send the code box's form."""
        form = page.form_with("code")
        assert form is not None, page
        self._watched.needles.add("code", code)
        return await self.past_moment(await self.submit(page, form, code=code))

    async def press(self, page: Page, what: str) -> Page:
        """Press one of the code box's other buttons: resend or cancel."""
        form = next(form for form in page.forms if form.button == ("do", what))
        return await self.submit(page, form)

    async def read_text(self, person: Person, nth: int) -> str:
        """Wait for the nth text on the person's phone and return its code."""
        texts: Any = self._watched.stage.sns
        async with asyncio.timeout(_WITHIN):
            while len(texts.to(person.number)) < nth:  # noqa: ASYNC110 - the stand-in sets no event
                await asyncio.sleep(0.05)
        code = str(texts.to(person.number)[nth - 1].code)
        self._watched.needles.add("code", code)
        return code

"""The gateway in the whole stack, spoken to in plain HTTP."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.support.remarks import alert_of, problem_of
from tests.support.whole_stack import Household, WholeStack, new_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.stack import RunningStack
    from tests.support.whole_stack import Person


@dataclass(frozen=True)
class Answer:
    """An answer as it came; redirects are not followed."""

    status: int
    headers: Any
    text: str

    @property
    def state(self) -> str:
        """What the page's main part shows."""
        found = re.search(r'data-state="(\w+)"', self.text)
        return found.group(1) if found else ""

    @property
    def goes_to(self) -> str:
        """Where a redirect leads."""
        return str(self.headers.get("Location", ""))

    def hidden(self, name: str) -> str:
        """Return a hidden field of the page's forms."""
        found = re.search(rf'name="{name}" value="([^"]+)"', self.text)
        assert found is not None, f"no field {name} in a page of status {self.status}"
        return found.group(1)

    @property
    def problem(self) -> str:
        """Which problem the page tells: `wrong` of login.error.wrong."""
        return problem_of(self.text)

    def alert(self) -> str:
        """Return what the page complains of."""
        return alert_of(self.text)


class Client:
    """A browser's cookies and address, and nothing of its manners."""

    def __init__(self, http: aiohttp.ClientSession, whole: WholeStack, address: str) -> None:
        self.http = http
        self.whole = whole
        self.address = address
        self.base = whole.gateway
        self._texts_before: dict[str, int] = {}

    async def get(self, path: str, **options: Any) -> Answer:
        """Ask for a page."""
        return await self.ask("GET", path, **options)

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """Ask for anything."""
        async with self.http.request(method, self.base + path, allow_redirects=False, **options) as answer:
            return Answer(answer.status, answer.headers, await answer.text())

    async def post(self, path: str, form: dict[str, str], *, page: str | None = None, **options: Any) -> Answer:
        """Send a form with the token of the page it stands on."""
        token = (await self.get(page or path)).hidden("csrf")
        return await self.send(path, {"csrf": token, **form}, **options)

    async def send(self, path: str, form: dict[str, str], **options: Any) -> Answer:
        """Send a form; if that leads back with a problem, return the page that tells it."""
        answer = await self.ask("POST", path, data=form, **options)
        if answer.status == 303 and re.match(r'remark=[^"]', answer.headers.get("Set-Cookie", "")):
            page = await self.get(answer.goes_to)
            return page if page.problem else answer
        return answer

    async def give_password(self, person: Person, password: str | None = None, **options: Any) -> Answer:
        """Send the log-in form."""
        if person.number not in self._texts_before:
            self._texts_before[person.number] = len(await self.whole.texts(person.number))
        form = {"email": person.email, "password": password or person.password}
        return await self.post("/login", form, **options)

    async def code(self, person: Person, nth: int = 1) -> str:
        """Read the nth code that came to the person's phone since this browser first gave the password."""
        return await self.whole.code(person.number, nth=self._texts_before.get(person.number, 0) + nth)

    async def give_code(self, code: str, path: str = "/login/code") -> Answer:
        """Send the code box's form."""
        page = await self.get(path)
        form = {"csrf": page.hidden("csrf"), "once": page.hidden("once"), "code": code, "do": "answer"}
        return await self.send(path, form)

    async def asked(self, path: str = "/login/code") -> Answer:
        """Wait for the code box."""
        for _ in range(200):
            page = await self.get(path)
            if page.state == "code":
                return page
        raise AssertionError(f"no code box: {page.status} {page.state}")

    async def log_in(self, person: Person) -> None:
        """Log in with a code."""
        assert (await self.give_password(person)).goes_to == "/login/code"
        await self.asked()
        answer = await self.give_code(await self.code(person))
        assert answer.goes_to == "/", answer.status

    def cookie(self) -> str:
        """Return what the browser holds."""
        found = self.http.cookie_jar.filter_cookies(self.base_url)
        return found["session"].value if "session" in found else ""

    def hold(self, secret: str) -> None:
        """Make the browser hold something."""
        self.http.cookie_jar.update_cookies({"session": secret}, self.base_url)

    @property
    def base_url(self) -> URL:
        """The gateway's address, as the cookie jar takes it."""
        return URL(self.base)

    def device(self) -> str:
        """Return the device cookie."""
        found = self.http.cookie_jar.filter_cookies(self.base_url)
        return found["device"].value if "device" in found else ""

    def hold_device(self, value: str) -> None:
        """Make the browser hold a device cookie."""
        self.http.cookie_jar.update_cookies({"device": value}, self.base_url)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whole(stack: RunningStack) -> WholeStack:
    """Return the run's stack, as its pages' visitors see it."""
    return WholeStack(stack)


@pytest_asyncio.fixture(loop_scope="session")
async def household(whole: WholeStack) -> Household:
    """Make an account of the test's own, two-factor on."""
    return await whole.household()


@pytest.fixture(scope="session")
def visit(whole: WholeStack) -> Callable[..., Any]:
    """Return how to visit the gateway from an address."""

    @asynccontextmanager
    async def visiting(address: str | None = None, **headers: str) -> AsyncIterator[Client]:
        seen_as = address or new_address()
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar, headers={"X-Forwarded-For": seen_as, **headers}) as http:
            yield Client(http, whole, seen_as)

    return visiting

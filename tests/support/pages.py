"""The gateway's log-in pages in plain HTTP, for stages that have no browser."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
from argon2 import PasswordHasher

if TYPE_CHECKING:
    import asyncpg

    from tests.support.drive import Driver
    from tests.support.people import Person

ADD_PERSON = """
INSERT INTO gateway.person (user_id, account_id, email, name, password, staff) VALUES ($1, $2, $3, 'Ada', $4, false)
"""
_WITHIN = 30.0


@dataclass
class Visitor:
    """A browser's cookies and address, on its way through the log-in."""

    driver: Driver
    person: Person
    http: aiohttp.ClientSession
    email: str = field(init=False)

    def __post_init__(self) -> None:
        self.email = f"{self.person.user_id}@example.com"

    async def log_in(self, password: str) -> str:
        """Give e-mail and password, then the code if one is asked for; return where that leads."""
        seen = len(self.driver.texts(self.person.number))
        leads = await self._send("/login", {"email": self.email, "password": password})
        async with asyncio.timeout(_WITHIN):
            while leads == "/login/code":
                page = await self._page(leads)
                if 'data-state="code"' not in page:
                    await asyncio.sleep(0.1)
                    leads = await self._leads_on(leads)
                    continue
                code = self.driver.texts(self.person.number)
                if len(code) > seen:
                    form = {"code": code[-1].code, "do": "answer", "once": _hidden(page, "once")}
                    leads = await self._send(leads, form)
        return leads

    async def is_signed_in(self) -> bool:
        """Tell whether a protected page is shown."""
        async with self.http.get(self._url("/account"), allow_redirects=False) as answer:
            return answer.status == HTTPStatus.OK

    async def _send(self, path: str, form: dict[str, str]) -> str:
        token = _hidden(await self._page(path), "csrf")
        async with self.http.post(self._url(path), data={"csrf": token, **form}, allow_redirects=False) as answer:
            return str(answer.headers.get("Location", ""))

    async def _leads_on(self, path: str) -> str:
        async with self.http.get(self._url(path), allow_redirects=False) as answer:
            return str(answer.headers.get("Location", path))

    async def _page(self, path: str) -> str:
        async with self.http.get(self._url(path), allow_redirects=False) as answer:
            return await answer.text()

    def _url(self, path: str) -> str:
        return self.driver.fleet.url("gateway") + path


def _hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None, f"no field {name}"
    return found[1]


async def add_password(db: asyncpg.Pool[asyncpg.Record], person: Person, password: str) -> None:
    """Let somebody sign in at the gateway."""
    email = f"{person.user_id}@example.com"
    await db.execute(ADD_PERSON, person.user_id, person.account_id, email, PasswordHasher().hash(password))


def browser(address: str) -> aiohttp.ClientSession:
    """Return a session with cookies of its own that the gateway sees at an address."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"X-Forwarded-For": address})

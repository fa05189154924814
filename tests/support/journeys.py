"""Many people at once, each on a journey that takes every turn a request can take; until told to stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from tests.support.drive import UndecidedError
from tests.support.events import a_member_removed
from tests.support.people import a_person, address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drive import Driver, Ending
    from tests.support.people import Person


@dataclass
class Journeys:
    """Load: `parallel` people at a time. `failures` is what somebody waited for in vain."""

    driver: Driver
    parallel: int = 6
    failures: list[str] = field(default_factory=list)
    made: int = 0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def stop(self) -> None:
        """Let everybody finish what they are at, and nobody begin anew."""
        self._stopping.set()

    async def run(self) -> None:
        """Send people off until stopped."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.parallel):
                group.create_task(self._one_after_another())

    async def _one_after_another(self) -> None:
        while not self._stopping.is_set():
            nth = next(self._numbers)
            try:
                await self.journey(nth)
            except UndecidedError as failure:
                self.failures.append(str(failure))
            self.made += 1

    async def journey(self, nth: int) -> None:
        """Log in from a new place, from the known one, export, have it forgotten, and so on, as the number says."""
        driver = self.driver
        person = await a_person(driver.db, driver.fleet.servers, confirmed=nth % 2 == 0)
        endings: tuple[Ending, ...] = ("answer", "exhaust", "resend", "cancel", "answer", "expire")
        await self._login(person, person.computer, ending=endings[nth % 6], wrong=nth % 3, twice=nth % 4 == 0)
        await self._login(person, person.computer)
        if nth % 2 and not self._stopping.is_set():
            await self._export(person)
        await driver.set_member(person, version=2 + nth % 3)
        if nth % 3 == 0:
            await driver.forget_places(person)
            await self._login(person, person.computer)
        if nth % 9 == 0:
            await self._pushy(person)
        if nth % 5 == 0:
            await driver.publish(a_member_removed(account_id=person.account_id, user_id=person.user_id, version=9))

    async def _login(
        self, person: Person, computer: str, *, ending: Ending = "answer", wrong: int = 0, twice: bool = False
    ) -> str:
        seen = len(self.driver.texts(person.number))
        request_id = await self.driver.ask_login(person, computer, twice=twice)
        return await self.driver.finish(person, request_id, seen=seen, ending=ending, wrong=wrong)

    async def _export(self, person: Person) -> None:
        seen = len(self.driver.texts(person.number))
        export_id = await self.driver.ask_export(person, person.computer)
        if await self.driver.finish(person, export_id, seen=seen) == "granted":
            await self.driver.fetch_file(person, export_id)

    async def _pushy(self, person: Person) -> None:
        """Ask for more texts than a number gets in an hour."""
        for nth in range(8):
            await self._login(person, address(hash((person.user_id, nth))), ending="cancel")

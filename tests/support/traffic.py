"""Steady traffic of people who are there already: they log in with a code, log in again without, and export.

Unlike journeys it needs no database of its own, so it goes on while one is away.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING

from tests.support.drive import UndecidedError
from tests.support.people import a_person

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.drive import Driver
    from tests.support.people import Person

PAUSE_SECONDS = 0.1  # between two visits of one worker: a load that two cores carry beside a broker


@dataclass
class Traffic:
    """`parallel` visits at a time. `outcomes` counts how requests ended, `failures` what was waited for in vain."""

    driver: Driver
    people: list[Person]
    parallel: int = 4
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _visits: Counter[Person] = field(default_factory=Counter)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Let everybody finish, and nobody begin anew."""
        self._stopping.set()

    async def run(self) -> None:
        """Go on until stopped."""
        queue = cycle(self.people)
        async with asyncio.TaskGroup() as group:
            for _ in range(self.parallel):
                group.create_task(self._one_after_another(queue))

    async def _one_after_another(self, queue: Iterator[Person]) -> None:
        while not self._stopping.is_set():
            try:
                await self.visit(next(queue))
            except UndecidedError as failure:
                self.failures.append(str(failure))
            await asyncio.sleep(PAUSE_SECONDS)

    async def visit(self, person: Person) -> str:
        """Do what it is this person's turn to do: two requests in all need a text, so that no limit is met."""
        nth, self._visits[person] = self._visits[person], self._visits[person] + 1
        seen = len(self.driver.texts(person.number))
        if nth == 1:
            request_id = await self.driver.ask_export(person, person.computer)
        else:
            request_id = await self.driver.ask_login(person, person.computer)
        outcome = await self.driver.finish(person, request_id, seen=seen, wrong=nth == 0)
        self.outcomes[outcome] += 1
        if nth == 1 and outcome == "granted":
            await self.driver.fetch_file(person, request_id)
        return outcome


async def traffic_of(driver: Driver, people: int, parallel: int = 4) -> Traffic:
    """Put in so many people and return their traffic."""
    servers = driver.fleet.servers
    return Traffic(driver, [await a_person(driver.db, servers, confirmed=True) for _ in range(people)], parallel)

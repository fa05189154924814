"""Everything of a service that runs beside its routes, started together and ended in order."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from countersign.runtime.consuming.lane import Reading, lanes_of, reading
from countersign.runtime.database import leases
from countersign.runtime.database.postgres import Link, look_at_server
from countersign.runtime.due_work.due import AnyDue, DueLoop
from countersign.runtime.due_work.left_over import LeftOver
from countersign.runtime.errors import Kind, kind_of, reason_of
from countersign.runtime.folding.redrive import Redrives
from countersign.runtime.program.ending import Ending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from countersign.runtime.program.frame import Frame, Parts

LOOK_AT_POSTGRES_EVERY_SECONDS = 2.0
ANSWER_SECONDS_MAX = 3.0


class Machine:
    """The lanes, the due loops and the publisher of one service."""

    def __init__(self, service: str, frame: Frame[Any], parts: Parts) -> None:
        self._service = service
        self._dsn = frame.settings.postgres.dsn.get_secret_value()
        self._frame = frame
        self._parts = parts
        self.health = frame.health
        self.metrics = frame.metrics
        self.publisher = frame.publisher
        self._links: list[Link] = []
        self._quiet_links: Sequence[Link] = ()
        self.lanes = self._make_lanes()
        self._loops = self._make_loops()

    def _link(self, *, keeps_plans: bool = True) -> Link:
        link = Link(
            self._dsn,
            self._service,
            keeps_plans=keeps_plans,
            parameters=leases.parameters(self._frame.settings.leases),
        )
        self._links.append(link)
        return link

    def _make_lanes(self) -> list[Reading]:
        """Give each lane a consumer and connections of its own; for their brakes they share one."""
        frame, lanes = self._frame, lanes_of(self._parts.folds)
        if not lanes:
            return []
        brakes = self._link()
        own = [(lane, self._link(), self._link(keeps_plans=False)) for lane in lanes]
        self._quiet_links = (brakes, *(link for _, small, bulk in own for link in (small, bulk)))
        return [
            reading(
                self._service,
                lane,
                frame.settings,
                small=small,
                bulk=bulk,
                brakes=brakes,
                publisher=frame.publisher,
                health=frame.health,
                metrics=frame.metrics,
                checkpoint=frame.checkpoint,
                log=frame.log,
                tracer=frame.tracer,
            )
            for lane, small, bulk in own
        ]

    def _make_loops(self) -> list[DueLoop]:
        """Give each due work that somebody waits for two connections of its own, and all the rest one together."""
        frame, small = self._frame, self._link()
        shared: list[AnyDue] = [LeftOver(frame.publisher, frame.metrics, frame.log), *self._parts.small_dues]
        if self._parts.folds:
            folds = {fold.topic: fold for fold in self._parts.folds}
            shared.append(Redrives(folds, small, frame.publisher, frame.log, frame.tracer))
        loops = [self._loop(due, small, small) for due in shared]
        return loops + [self._loop(due, self._link(), self._link()) for due in self._parts.dues]

    def _loop(self, due: AnyDue, taking: Link, settling: Link) -> DueLoop:
        return DueLoop(
            due,
            taking=taking,
            settling=settling,
            publisher=self._frame.publisher,
            health=self._frame.health,
            checkpoint=self._frame.checkpoint,
            metrics=self._frame.metrics,
            log=self._frame.log,
        )

    @property
    def links(self) -> int:
        """How many connections it may hold beside the pool, with the publisher's."""
        return len(self._links) + 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run until the body is left, then: no new batch, no new due work, what is committed is published.

        That takes 20 s: a server that does not answer by then is not waited for, and leases free the work.

        A part that fails ends the body: the process is to be started again.
        """
        try:
            async with self._parts_running():
                yield
        finally:
            for link in self._links:
                await link.close()

    @asynccontextmanager
    async def _parts_running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(self._frame.publisher.run())
            loops = [group.create_task(loop.run()) for loop in self._loops]
            others = [group.create_task(self._look_at_postgres())]
            others += [group.create_task(_run(run)) for run in self._parts.background]
            working = [group.create_task(lane.worker.run()) for lane in self.lanes]
            others += [group.create_task(lane.watchdog.run()) for lane in self.lanes]
            yield
            ending = Ending(self._frame.log, self._cut)
            for task in others:
                task.cancel()
            for lane in self.lanes:
                lane.worker.stop()
            await ending.wait_for("workers", working)
            for loop in self._loops:
                loop.stop()
            await ending.wait_for("due work", loops)
            self._frame.publisher.stop()
            await ending.wait_for("publisher", [publishing])
            await ending.wait_for("the rest", others)

    def _cut(self) -> None:
        """Cut the connections to PostgreSQL: a statement that is never answered would hold the end up."""
        for link in self._links:
            link.drop()
        self._frame.pool.terminate()

    async def _look_at_postgres(self) -> None:
        """Tell the truth about the database also while nothing arrives, through the connections that serve.

        The links of due work and of the publisher need no look: they write every few seconds.
        """
        while True:
            try:
                if ended := await look_at_server(self._frame.pool, ANSWER_SECONDS_MAX):
                    self._frame.log.warning("stopped_sessions_ended", sessions=ended)
                for link in self._quiet_links:
                    await link.probe(ANSWER_SECONDS_MAX)
            except Exception as error:
                if kind_of(error) is not Kind.INFRASTRUCTURE:
                    raise
                self._frame.health.tell("postgres", reason_of(error))
            else:
                self._frame.health.tell("postgres", None)
            await asyncio.sleep(LOOK_AT_POSTGRES_EVERY_SECONDS)


async def _run(background: Any) -> None:
    await background()

"""One simulated world: a broker, a database, the processes of a service, and what they all did."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import asynccontextmanager
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

from countersign.contract import AccessRequested
from countersign.runtime.program.frame import Parts, Service
from countersign.runtime.settings import KafkaSettings, LeaseSettings, PostgresSettings, ServiceSettings
from countersign.runtime.watching.metrics import Metrics
from tests.sim.broker.log import Broker
from tests.sim.tables import runtime_statements  # noqa: F401 - registers them
from tests.sim.tables.server import Server
from tests.sim.world.events import OUT, TOPICS, Troubles
from tests.sim.world.loop import Scheduler
from tests.sim.world.noting import Noting
from tests.sim.world.process import RESTART_SECONDS
from tests.sim.world.service import Doing, Keeping
from tests.sim.world.submitting import Submitters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from countersign.runtime.program.frame import Frame
    from tests.sim.broker.client import Client
    from tests.sim.broker.producer import Owed, SimProducer
    from tests.sim.world.loop import SimLoop
    from tests.sim.world.process import Process

TRACE_MAX = 4000


class World:
    """Everything of one run. What happened is in `trace`, in the order in which it did."""

    _metrics: list[Metrics] = []  # noqa: RUF012 - costly to make, so all worlds of a run share them
    _settings: dict[str, ServiceSettings] = {}  # noqa: RUF012 - the same

    def __init__(self, seed: int, partitions: int = 2) -> None:
        self.rng = Random(seed)
        self.scheduler = Scheduler(self.rng)
        self.outside = self.scheduler.loop("world")
        self.broker = Broker(self.scheduler, self.rng, self.outside)
        self.server = Server(self.scheduler, self.rng)
        for topic in (*TOPICS, OUT):
            self.broker.create(topic, partitions)
        self.broker.create(AccessRequested.topic, 1)
        self.clients: list[Client] = []
        self.trace: deque[tuple[float, str, object, dict[str, Any]]] = deque(maxlen=TRACE_MAX)
        self.mended: set[str] = set()
        self.told: Counter[int] = Counter()
        self.fell: list[tuple[float, str, str]] = []
        self.findings: list[str] = []
        self.kills = 0
        self.is_ending = False
        self.broker_well_since: float | None = 0.0
        self.submitters = Submitters(self)
        self.act_seconds = 0.05
        self.processes: list[Process] = []
        self.kill_at: tuple[str, str, int] | None = None
        self.in_flight: dict[tuple[SimLoop, bytes], SimProducer] = {}
        self._metrics_given = 0
        self.on_told: Callable[[int], None] = lambda _item: None
        self.on_ended: Callable[[SimLoop], None] = lambda _loop: None
        self.service = Service("sim", ServiceSettings, self._wire, lambda _settings: ())

    @asynccontextmanager
    async def _wire(self, _frame: Frame[Any]) -> AsyncIterator[Parts]:
        doing = Doing(self._tell, self.act_seconds)
        troubles = Troubles(self.mended)
        yield Parts(folds=[Keeping(troubles, doing.waker), Noting(troubles)], dues=[doing])

    def _tell(self, item: int) -> None:
        self.told[item] += 1
        self.on_told(item)

    def settings(self, instance: str) -> ServiceSettings:
        """Return the settings of a process."""
        found = self._settings.get(instance)
        if found is None:
            found = self._settings[instance] = ServiceSettings(
                postgres=PostgresSettings(dsn="postgresql://sim@127.0.0.1/sim"),
                kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1", session_timeout_ms=6000),
                leases=LeaseSettings(),
                instance=instance,
            )
        return found

    def metrics_of(self) -> Metrics:
        """Lend metrics to a process. Only this world counts in them meanwhile."""
        if self._metrics_given == len(self._metrics):
            self._metrics.append(_quick(Metrics()))
        self._metrics_given += 1
        return self._metrics[self._metrics_given - 1]

    def note(self, who: str, event: object, fields: dict[str, Any]) -> None:
        """Add a line to the trace."""
        self.trace.append((self.scheduler.now, who, event, fields))

    def find(self, what: str) -> None:
        """Note that an invariant does not hold."""
        if what not in self.findings:
            self.findings.append(what)
            self.note("invariant", what, {})
            self._stop_at_trouble()

    def fall(self, process: Process, error: str) -> None:
        """Note that a process ended with an error."""
        self.fell.append((self.scheduler.now, process.name, error))
        self._stop_at_trouble()

    def _stop_at_trouble(self) -> None:
        if not self.is_ending:
            self.scheduler.stop()

    def gone(self) -> None:
        """Stop once no process runs any more, if they are to end."""
        if self.is_ending and not any(process.is_up for process in self.processes):
            self.scheduler.stop()

    def broker_changed(self) -> None:
        """Let clients see that something about the brokers has changed."""
        self.broker_well_since = self.scheduler.now if self.broker.is_well else None
        self.broker.changed()

    def passed(self, process: Process, name: str) -> bool:
        """Tell whether the process dies at this checkpoint."""
        if self.kill_at is None or self.kill_at[:2] != (process.instance, name):
            return False
        instance, checkpoint, left = self.kill_at
        self.kill_at = (instance, checkpoint, left - 1) if left > 1 else None
        if left > 1:
            return False
        process.kill()
        self.outside.call_later(RESTART_SECONDS, process.start)
        return True

    def sent(self, producer: SimProducer, topic: str, owed: Owed) -> None:
        """Note that a record is in flight. A second one of the same row in the same process is a finding."""
        if topic != OUT:
            return
        loop = producer.client.loop
        key = (loop, owed.value or b"")
        if key in self.in_flight:
            self.find(f"one owner per row: {owed.value!r} is sent while it is in flight in the same process")
        self.in_flight[key] = producer
        owed.ack.add_done_callback(lambda _ack: self.in_flight.pop(key, None))

    def forget(self, loop: SimLoop) -> None:
        """Let the servers see that a process is gone: its sessions end, its members fall silent."""
        for session in [one for one in self.server.sessions if one.loop is loop]:
            session.lose(ConnectionResetError())
        for client in self.clients:
            if client.loop is loop and client.is_open:
                client.is_open = False
                fall_silent = getattr(client.owner, "fall_silent", None)
                if fall_silent is not None:
                    fall_silent()

    def ended_well(self, process: Process, loop: SimLoop) -> None:
        """Look at what a process that has ended by itself leaves open."""
        producers = [one for one in self.clients if one.loop is loop and one.is_open and one.kind == "producer"]
        if producers:
            self.find(f"no leaks: a process ended with {len(producers)} open producers")
        tasks = [name for task in loop.pending() if not (name := task.get_coro().__qualname__).startswith("Sim")]
        if tasks := [name for name in tasks if name != "Process._main"]:
            self.find(f"no leaks: a process ended with tasks: {sorted(tasks)}")
        self.on_ended(loop)
        if process.stopped_at is not None:
            self.note(process.name, "sigterm_took", {"seconds": self.scheduler.now - process.stopped_at})

    def close(self) -> None:
        """Let go of everything.

        The parts of a world know each other. Who leaves it to the collector to find that out waits ten times as long.
        """
        for loop in self.scheduler.loops:
            loop.dispose()
        for metrics in self._metrics[: self._metrics_given]:
            metrics.braked.clear()  # what is taken out of these must have been put in, in this world
            metrics.lag.clear()
        clients = [part for client in self.clients for part in (client, client.owner)]
        own = [self.broker, self.server, self.submitters, *self.scheduler.loops, self.scheduler, self]
        for part in (*clients, *self.processes, *own):
            vars(part).clear()


def _quick(metrics: Metrics) -> Metrics:
    """Let each metric know the labels that it was asked for; from `braked` and `lag` some are taken out again."""
    for part in vars(metrics).values():
        if getattr(part, "_labelnames", ()) and part not in (metrics.braked, metrics.lag):
            part.labels = cache(part.labels)
    return metrics

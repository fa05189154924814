"""The six services as real processes on given servers, each of which can die or stop at a checkpoint."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import aiohttp

from deploy.local import programs
from deploy.local.checkout import CHECKOUT
from deploy.local.process import Process, Program, free_ports
from tests.support.balancer import Balancer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from tests.support.clocks import Clock
    from tests.support.servers import Servers

SERVICES = ("verifier", "risk_evaluator", "notifier", "enrolment", "exports", "gateway")
SITES = ("gateway", "console", "verifier", "enrolment", "exports")
SESSION_MS = 6_000  # the shortest that a broker takes as it is configured
_READY_WITHIN = 90.0  # seconds, on two busy cores


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a process is to end: at a point, for the n-th time, by a signal."""

    point: str
    nth: int = 1
    number: signal.Signals = signal.SIGKILL

    @property
    def arguments(self) -> list[str]:
        """Return it as `tests.support.crashing` is told."""
        return ["--at", self.point, "--nth", str(self.nth), "--signal", self.number.name]


class Fleet:
    """Processes by service and instance. Each keeps its ports and its member id over restarts."""

    def __init__(
        self,
        servers: Servers,
        folder: Path,
        sns_url: str,
        *,
        policy: Path,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        clocks: Mapping[str, Clock] | None = None,
    ) -> None:
        self.servers = servers
        self.folder = folder
        self._policy = policy
        self._sns_url = sns_url
        self._settings = dict(settings or {})
        self.clocks = dict(clocks or {})
        self._staff_account_id = str(uuid4())
        self._ports: dict[tuple[str, str], int] = {}
        self._processes: dict[tuple[str, str], Process] = {}
        self._routes: dict[str, str] = {}
        self.front = Balancer(lambda: self._port("verifier", self._routes.get("verifier", "0")))
        for site in SITES:
            self._port(site, "0")
        self.bearer = str(servers.secrets["gateway"]["services"]["token"])

    # addresses

    def url(self, site: str) -> str:
        """Return the address of a service's routes: of the first process, or of that which calls are routed to."""
        return f"http://127.0.0.1:{self._port(site, self._routes.get(site, '0'))}"

    def route(self, site: str, instance: str) -> None:
        """Have calls from now on go to that process, as a balancer does."""
        self._routes[site] = instance

    def health_url(self, service: str, instance: str = "0") -> str:
        """Return the address of /livez, /readyz and /metrics."""
        return f"http://127.0.0.1:{self._port(f'{service} health', instance)}"

    def _port(self, site: str, instance: str) -> int:
        if (site, instance) not in self._ports:
            self._ports[site, instance] = free_ports(1)[0]
        return self._ports[site, instance]

    # processes

    async def start(self, service: str, instance: str = "0", stop: Stop | None = None) -> None:
        """Start a process, the one before being over, and wait until it is ready; one with a stop is not waited for."""
        before = self._processes.pop((service, instance), None)
        while before is not None and before.ended is None:  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(0.01)
        process = Process(self._program(service, instance, stop))
        self._processes[service, instance] = process
        if stop is None:
            await process.wait_ready()

    async def start_all(self, services: Iterable[str] = SERVICES) -> None:
        """Start one process of each."""
        await asyncio.gather(*(self.start(service) for service in services))

    def is_over(self, service: str, instance: str, stop: Stop) -> bool:
        """Tell whether a process has come to its stop."""
        if stop.number is signal.SIGSTOP:
            return self.is_asleep(service, instance)
        return self._processes[service, instance].ended == -stop.number

    async def over(self, service: str, instance: str, stop: Stop, within: float) -> bool:
        """Wait until a process came to its stop; False if it did not. Raises if it ended in another way."""
        process = self._processes[service, instance]
        try:
            async with asyncio.timeout(within):
                while not self.is_over(service, instance, stop):
                    if process.ended is not None:
                        raise AssertionError(f"{service} ended with {process.ended}: {self.log(service)[-2000:]}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True

    def is_asleep(self, service: str, instance: str = "0") -> bool:
        """Tell whether a process is stopped (proc(5): state T)."""
        state = Path(f"/proc/{self._processes[service, instance].pid}/stat").read_text().rpartition(")")[2]
        return state.split()[0] == "T"

    def wake(self, service: str, instance: str = "0") -> None:
        """Let a stopped process go on."""
        os.kill(self._processes[service, instance].pid, signal.SIGCONT)

    def send(self, service: str, number: signal.Signals, instance: str = "0") -> None:
        """Send a signal to a process."""
        os.kill(self._processes[service, instance].pid, number)

    async def end(self, service: str, instance: str = "0") -> None:
        """End a process in its own way."""
        process = self._processes.pop((service, instance))
        if process.ended is None:
            os.kill(process.pid, signal.SIGCONT)
        await process.end()

    def ended(self) -> dict[str, int]:
        """Return what ended by itself, and how."""
        codes = {f"{name}-{instance}": process.ended for (name, instance), process in self._processes.items()}
        return {name: code for name, code in codes.items() if code is not None}

    async def end_all(self) -> None:
        """End whatever runs."""
        await asyncio.gather(*(self.end(*key) for key in list(self._processes)))

    # what they say

    def log(self, service: str, instance: str = "0") -> str:
        """Return all that the processes of an instance have logged."""
        path = self._log_of(service, instance)
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self) -> dict[str, str]:
        """Return every log by its file's name."""
        return {path.name: path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log"))}

    def pids(self) -> dict[str, int]:
        """Return the process ids of those that run, by service and instance."""
        return {f"{name}-{n}": process.pid for (name, n), process in self._processes.items() if process.ended is None}

    async def readiness(self) -> dict[str, dict[str, str]]:
        """Return what each process gives as reasons for not being ready; one that does not answer is left out."""
        found = {}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            for service, instance in list(self._processes):
                with suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with http.get(f"{self.health_url(service, instance)}/readyz") as answer:
                        told = await answer.json()
                        assert (answer.status == HTTPStatus.OK) == told["ready"] == (not told["reasons"]), told
                        found[f"{service}-{instance}"] = dict(told["reasons"])
        return found

    async def metrics(self) -> dict[str, str]:
        """Return the metrics of every process that answers."""
        found = {}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            for service, instance in self._processes:
                async with http.get(f"{self.health_url(service, instance)}/metrics") as answer:
                    found[f"{service}-{instance}"] = await answer.text()
        return found

    # how they are started

    def environment(self, service: str) -> Mapping[str, str]:
        """Return the settings of a service's first process."""
        return self._environment(service, "0")

    def _log_of(self, service: str, instance: str) -> Path:
        return self.folder / f"{service}-{instance}.log"

    def _program(self, service: str, instance: str, stop: Stop | None) -> Program:
        url, clock = f"{self.health_url(service, instance)}/readyz", self.clocks.get(service)

        async def ready() -> bool:
            try:
                async with aiohttp.request("GET", url, timeout=aiohttp.ClientTimeout(total=5)) as answer:
                    return answer.status == HTTPStatus.OK
            except (aiohttp.ClientError, OSError, TimeoutError):
                return False

        return Program(
            name=f"{service}-{instance}",
            argv=[
                sys.executable,
                "-m",
                "tests.support.crashing",
                service,
                *(stop.arguments if stop else ()),
                *(clock.arguments if clock else ()),
            ],
            env={**self._environment(service, instance), **(clock.environment if clock else {})},
            cwd=CHECKOUT,
            log=self._log_of(service, instance),
            ready=ready,
            ready_within=_READY_WITHIN,
        )

    def _environment(self, service: str, instance: str) -> dict[str, str]:
        words = {"policy": str(self._policy), "staff account": self._staff_account_id, "sns": self._sns_url, "seed": ""}
        for site in SITES:  # a second process has routes of its own, and calls the first of the others
            own = instance if site in {service, "console"} and service in SITES else "0"
            words |= {site: self.url(site), f"{site} port": str(self._port(site, own))}
        if self.front.port:  # others find the verifier's keys there, whichever of its processes is awake
            words["verifier"] = f"http://127.0.0.1:{self.front.port}"
        settings = {
            **_without_seed(programs.settings_of(service, words)),
            "KAFKA__BOOTSTRAP_SERVERS": self.servers.kafka,
            "KAFKA__SESSION_TIMEOUT_MS": str(SESSION_MS),
            "HEALTH__PORT": str(self._port(f"{service} health", instance)),
            "INSTANCE": instance,
            "SECRETS_FILE": str(self._secrets_of(service)),
            # As many notices as come, so that a run waits for none of them.
            **({"SNS__PER_SECOND": "3000"} if service == "notifier" else {}),
            **self._settings.get(service, {}),
        }
        return {f"COUNTERSIGN_{name}": value for name, value in settings.items()}

    def _secrets_of(self, service: str) -> Path:
        path = self.folder / f"{service}.json"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(json.dumps(self.servers.secrets[service]))
        return path


@asynccontextmanager
async def fleet_of(fleet: Fleet) -> AsyncIterator[Fleet]:
    """Start all six services; at the end whatever runs is ended."""
    await fleet.front.open()
    try:
        await fleet.start_all()
        yield fleet
    finally:
        await fleet.end_all()
        await fleet.front.close()


def _without_seed(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings of a stack that has nobody of the demonstration."""
    return {name: value for name, value in settings.items() if name != "LOCAL__SEED_FILE"}

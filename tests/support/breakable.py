"""Servers of one's own, to be paused, killed and started again."""

from __future__ import annotations

import shutil
import signal
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from os import kill
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local import kafka, postgres, sns
from deploy.local.jars import fetch_jars
from deploy.local.process import Process, Program, free_ports, started
from tests.support.servers import Servers, laid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PASSWORD = "for-tests-only"


class Breakable:
    """Kafka, PostgreSQL and SNS of one test; `name` is kafka, postgres or sns."""

    def __init__(self, programs: dict[str, Program]) -> None:
        self._programs = programs
        self._processes: dict[str, Process] = {}
        self.servers: Servers

    async def start(self, name: str) -> None:
        """Start a server and wait until it is ready."""
        self._processes[name] = await started(self._programs[name])

    async def kill(self, name: str) -> None:
        """End a server with -9."""
        process = self._processes[name]
        kill(process.pid, signal.SIGKILL)
        await process.end()

    def pause(self, name: str) -> None:
        """Stop a server where it is, with its children: it takes connections and answers nothing."""
        pid = self._processes[name].pid
        kill(pid, signal.SIGSTOP)  # first: it makes no more children then
        for child in _children(pid):
            with suppress(ProcessLookupError):  # one that just ended answers nothing either
                kill(child, signal.SIGSTOP)

    def wake(self, name: str) -> None:
        """Let a paused server go on."""
        pid = self._processes[name].pid
        for one in (pid, *_children(pid)):
            with suppress(ProcessLookupError):
                kill(one, signal.SIGCONT)

    def logs(self) -> dict[str, str]:
        """Return what each server has logged so far."""
        paths = {name: program.log for name, program in self._programs.items()}
        return {name: path.read_text(errors="replace") for name, path in paths.items() if path.exists()}

    async def end(self) -> None:
        """End all of them."""
        for name, process in self._processes.items():
            if process.ended is None:
                self.wake(name)
            await process.end()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@asynccontextmanager
async def breakable() -> AsyncIterator[Breakable]:
    """Start servers that belong to this test alone."""
    fetch_jars()
    async with AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="countersign-break-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # noqa: ASYNC240 - nothing else runs yet; PostgreSQL's user walks through it
        kafka_port, controller_port, postgres_port, sns_port = free_ports(4)
        broken = Breakable(
            {
                "kafka": kafka.program(folder / "kafka", port=kafka_port, controller_port=controller_port),
                "postgres": postgres.program(folder / "postgres", port=postgres_port, password=_PASSWORD),
                "sns": sns.program(folder / "sns", port=sns_port),
            }
        )
        stack.push_async_callback(broken.end)
        for name in ("kafka", "postgres", "sns"):
            await broken.start(name)
        broken.servers = await laid(
            Servers(
                kafka=f"127.0.0.1:{kafka_port}",
                postgres_dsn=postgres.dsn(postgres_port, _PASSWORD),
                sns_url=f"http://127.0.0.1:{sns_port}",
                origin="processes",
            )
        )
        yield broken

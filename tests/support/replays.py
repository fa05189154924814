"""Replays of a fleet's services from the command line, as an operator beside them has it."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countersign.runtime.replay.plan import Found, Plan
from deploy.local.checkout import CHECKOUT
from deploy.local.postgres import OPERATOR
from deploy.local.stack_env import write
from tests.support.fleet import SERVICES

if TYPE_CHECKING:
    from tests.support.fleet import Fleet
    from tests.support.world import World

# What tells of replays themselves: they are the only rows that a replay without effects may leave.
_OWN = frozenset({"replay", "replay_partition", "operation"})


@dataclass
class Operator:
    """Somebody with the command line, the addresses of `stack.env`, and the services' settings in a folder."""

    fleet: Fleet
    data: Path
    _plans: int = 0

    def __post_init__(self) -> None:
        (self.data / "env").mkdir(parents=True, exist_ok=True)
        for service in SERVICES:
            write(self.data / "env" / f"{service}.env", self.fleet.environment(service))
        named = {"OPERATOR_DSN": self.fleet.servers.dsn_of(OPERATOR), "OPERATOR_CONTEXT": "local"}
        write(self.data / "stack.env", named)

    async def call(self, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        """Run `countersign replay`; return its code, the JSON objects it printed, and its words."""
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "countersign.cli", "replay", *arguments),
            cwd=CHECKOUT,
            env={"PATH": "/usr/bin:/bin", "DATA": str(self.data), "PYTHONPATH": str(CHECKOUT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, errors = await program.communicate()
        rows = [json.loads(line) for line in printed.decode().splitlines() if line.startswith("{")]
        assert program.returncode is not None
        return program.returncode, rows, errors.decode()

    async def plan(self, service: str, topic: str, *more: str) -> tuple[Path, Found]:
        """Return a plan's file and what it found."""
        self._plans += 1
        file = self.data / f"plan-{self._plans}.json"
        asked = ("--service", service, "--topic", topic, "-o", str(file))
        code, _, words = await self.call("plan", *asked, "--json", *more)
        assert code == 0, words
        return file, Plan.parsed(file.read_bytes()).found

    async def run(self, file: Path, rate: str = "5000/s") -> dict[str, Any]:
        """Run a plan to its end, and return what was said last."""
        code, rows, words = await self.call("run", str(file), "--reason", "a test", "--rate", rate, "--json")
        assert code == 0, (words, rows[-1:])
        return rows[-1]


def as_left_by_replays(world: World) -> World:
    """Return the world without what a replay may write, and without what ends by itself while replays go on.

    An exported file is offered for a quarter of an hour, which ten thousand events may outlast.
    """
    world.tables = {name: rows for name, rows in world.tables.items() if name.partition(".")[2] not in _OWN}
    world.tables.pop("exports.file", None)
    world.tables["exports.export"] = [
        row if row["state"] not in {"ready", "expired"} else {**row, "state": "offered", "reason": "", "expires_at": ""}
        for row in world.table("exports.export")
    ]
    return world


def replaying(replay_id: str) -> int:
    """Return the id of the process that runs a replay."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"replay-run" in words and replay_id.encode() in words:
                return int(entry.name)
    raise AssertionError("nobody runs the replay")

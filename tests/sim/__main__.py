"""`python -m tests.sim`: run schedules, from one seed or for some seconds, and print what did not hold.

A failing seed is printed with its trace and replays exactly: `python -m tests.sim --seed N`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.sim.planted.every import PLANTED
from tests.sim.run import Outcome, ready, run, run_seed
from tests.sim.schedules import draw
from tests.sim.shrinking import shrunk

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[2]
_TRACE_LINES = 120


def main() -> int:
    """Run what the arguments say; return 1 if an invariant did not hold."""
    asked = _parser().parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of names have an order of their own in each process otherwise
        return _again()
    if asked.jobs > 1:
        return _in_parallel(asked)
    with ready():
        if asked.planted:
            PLANTED[asked.planted].plant()
        seeds = _seeds(asked)
        return _one(asked.seed, shrink=asked.shrink) if asked.seed is not None else _many(seeds, asked.seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one seed and print its whole trace")
    parser.add_argument("--shrink", action="store_true", help="with --seed: leave out steps while it still fails")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="run for so many seconds of a core's work (default 60)"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--step", type=int, default=1, help="the distance between seeds (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes at once")
    parser.add_argument("--planted", choices=sorted(PLANTED), help="put this fault back, to see it found")
    return parser


def _again() -> int:
    command = [sys.executable, "-m", "tests.sim", *sys.argv[1:]]
    return subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, cwd=_ROOT, check=False).returncode


def _in_parallel(asked: argparse.Namespace) -> int:
    command = [sys.executable, "-m", "tests.sim", "--seconds", str(asked.seconds), "--step", str(asked.jobs)]
    if asked.planted:
        command += ["--planted", asked.planted]
    started = [
        subprocess.Popen([*command, "--first", str(asked.first + number)], cwd=_ROOT) for number in range(asked.jobs)
    ]
    return max(process.wait() for process in started)


def _seeds(asked: argparse.Namespace) -> Iterator[int]:
    seed = asked.first
    while True:
        yield seed
        seed += asked.step


def _one(seed: int, *, shrink: bool) -> int:
    schedule = draw(seed)
    outcome = run(shrunk(schedule) if shrink else schedule, is_traced=True)
    _print(outcome, len(outcome.trace))
    return 1 if outcome.findings else 0


def _many(seeds: Iterator[int], seconds: float) -> int:
    """Run until an invariant does not hold, or until the time is over: that of a core, as others may use it as well."""
    began, count, failed = time.process_time(), 0, False
    for seed in seeds:
        outcome = run_seed(seed)
        count += 1
        if outcome.findings:
            _print(outcome, _TRACE_LINES)
            failed = True
        if failed or time.process_time() - began > seconds:
            break
    took = time.process_time() - began
    print(f"{count} schedules in {took:.1f} s, {count / took * 60:.0f} a minute of one core", flush=True)
    return 1 if failed else 0


def _print(outcome: Outcome, lines: int) -> None:
    schedule = outcome.schedule
    print(f"seed {schedule.seed}: {schedule.processes} processes, servers {schedule.slow_servers:g} times as slow")
    print("\n".join(str(step) for step in schedule.steps))
    print("\n".join(outcome.trace[-lines:]))
    for finding in outcome.findings:
        print(f"DOES NOT HOLD  {finding}")
    print(f"again: python -m tests.sim --seed {schedule.seed}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

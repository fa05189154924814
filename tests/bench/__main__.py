"""`make bench`: each figure of the speed table beside a bare loop with the same I/O, measured in the same run."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import uvloop

from deploy.local.checkout import CHECKOUT
from tests.bench import drain, flows, growth, memory, one
from tests.bench.figures import lines, write
from tests.bench.ground import ground

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.bench.figures import Figure
    from tests.bench.ground import Ground

ROWS: dict[str, tuple[Callable[[Ground], Awaitable[list[Figure]]], str]] = {
    "drain": (drain.drain, "risk-evaluator drains 60,000 requests, and reads them again"),
    "statements": (drain.statements, "statements a batch, of one and of hundreds"),
    "one": (one.one, "a hundred events a second: CPU an event, request to decision, challenge to text"),
    "texts": (flows.texts, "a backlog of texts, the provider taking 100 ms"),
    "answers": (flows.answers, "answers over HTTP"),
    "flows": (flows.flows, "whole log-ins: request, text, answer, grant"),
    "memory": (memory.memory, "resident memory, early and late in a long run"),
    "growth": (growth.growth, "CPU an event on 1,000 and on 5,000,000 rows of history"),
}
PEOPLE = 5_000
QUICK = 0.1
ROW_SECONDS_MAX = 1_800


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write .local/bench.json; 1 if a row could not be measured."""
    asked = _parser().parse_args(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of members that end, which is meant
    return uvloop.run(_measure(asked))


async def _measure(asked: argparse.Namespace) -> int:
    rows = asked.only or list(ROWS)
    scale = QUICK if asked.quick else 1.0
    figures: list[Figure] = []
    failed = []
    if asked.profile is not None:
        asked.profile.mkdir(parents=True, exist_ok=True)
    async with ground(people=round(PEOPLE * max(scale, 0.4)), scale=scale, profiles=asked.profile) as on:
        for row in rows:
            began = monotonic()
            try:
                async with asyncio.timeout(ROW_SECONDS_MAX):
                    found = await ROWS[row][0](on)
            except Exception as error:  # noqa: BLE001 - the other rows are still worth measuring
                failed.append(row)
                print(f"{row}: not measured: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            figures += found
            print(f"{row}: {monotonic() - began:.0f} s", file=sys.stderr)
    print("\n".join(lines(figures)))
    print(
        "ratio: 1 is even with the bare loop, below 1 is the worse. A busy machine shows in the clock's figures most."
    )
    about = {"quick": asked.quick, "profiled": asked.profile is not None, "cores": _cores()}
    write(asked.out, figures, about)
    return 1 if failed else 0


def _cores() -> int:
    return Path("/proc/cpuinfo").read_text().count("processor\t")


def _parser() -> argparse.ArgumentParser:
    named = "\n".join(f"  {name:<12}{what}" for name, (_, what) in ROWS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"rows:\n{named}\n\nServers are started on free loopback ports and ended; nothing else is touched.",
    )
    parser.add_argument("--only", action="append", choices=tuple(ROWS), metavar="ROW", help="a row; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a tenth of the counts: a look, not a measurement")
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="run our processes under cProfile, stats there")
    parser.add_argument("--out", type=Path, default=CHECKOUT / ".local" / "bench.json", help="where the figures go")
    return parser


if __name__ == "__main__":
    sys.exit(main())

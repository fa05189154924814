"""Show how far each group is behind on each topic it reads: in records, and in seconds against the life of a code.

`code life` is the share of a code's life that the seconds are: at 100 % whoever waits gets a code that is over. The
last line says in a sentence who is behind.

Seconds are counted from when the broker appended the oldest record that the group has not committed. Offsets are
committed once a second, so a group that has read everything may show a second. With `--json` one JSON object is
printed for each row.

Exit codes: 0 nobody is behind for longer than --seconds-max and every group has a member, 1 somebody is, 2 Kafka does
not answer.

try:
  countersign lag
  countersign lag --topic access.requests.v1 --watch
  countersign lag --json --seconds-max 30
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from countersign.cli.failures import naming_kafka
from countersign.cli.options import AsJson, Bootstrap  # noqa: TC001 - typer reads the annotations
from countersign.cli.printing import console
from countersign.cli.surroundings import CommandFailedError, Surroundings
from countersign.clock import system_clock
from countersign.operations.connecting import connected
from countersign.operations.lag import GROUP_PREFIX, Groups, readings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.operations.lag import Lag, Reading
    from countersign.runtime.broker.kafka import KafkaConnection

HELP = "show how far behind the groups are"
CODE_LIFE = timedelta(minutes=5)  # the verifier's default: who waits longer than that gets a code that is over
_EVERY_SECONDS = 1.0
_HEADINGS = ("group", "topic", "records", "seconds", "code life", "members", "caught up")
_TABLE_COLUMNS_MIN = 84
_WORDS = frozenset({"group", "topic", "caught up"})


def command(
    topic: Annotated[str | None, typer.Option(help="only this topic")] = None,
    group: Annotated[str | None, typer.Option(help="only this group, e.g. countersign.verifier")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="look again every second until Ctrl-C")] = False,
    as_json: AsJson = False,
    seconds_max: Annotated[float, typer.Option(help="exit with 1 if somebody is further behind")] = 60.0,
    bootstrap: Bootstrap = None,
) -> int:
    """Look and print."""
    kafka = Surroundings.found().kafka(bootstrap)
    wanted = [one for one in readings() if topic in {None, one.topic} and group in {None, one.group}]
    if not wanted:
        raise CommandFailedError("nobody reads that: see `countersign lag` for every group and topic")
    with naming_kafka(kafka):
        return asyncio.run(_run(kafka, wanted, seconds_max, watch=watch, as_json=as_json))


async def _run(
    kafka: KafkaConnection, wanted: Sequence[Reading], seconds_max: float, *, watch: bool, as_json: bool
) -> int:
    async with connected(kafka) as cluster:
        groups = Groups(cluster, system_clock)
        if watch and not as_json:
            await _watch(groups, wanted)
        before, lags = await _looked(groups, wanted)
    if as_json:
        for lag in lags:
            sys.stdout.write(json.dumps(_document(lag, before)) + "\n")
    else:
        console().print(_shown(lags, before))
    return 1 if any(lag.seconds > seconds_max or lag.members == 0 for lag in lags) else 0


async def _looked(groups: Groups, wanted: Sequence[Reading]) -> tuple[dict[Reading, Lag], list[Lag]]:
    """Look, and where somebody is behind look again after a second: then their speed is known."""
    lags = await groups.lag(wanted)
    if not any(lag.records for lag in lags):
        return {}, lags
    await asyncio.sleep(_EVERY_SECONDS)
    return {lag.reading: lag for lag in lags}, await groups.lag(wanted)


async def _watch(groups: Groups, wanted: Sequence[Reading]) -> None:
    before: dict[Reading, Lag] = {}
    with Live(console=console(), auto_refresh=False) as live:
        while True:
            lags = await groups.lag(wanted)
            live.update(_shown(lags, before), refresh=True)
            before = {lag.reading: lag for lag in lags}
            await asyncio.sleep(_EVERY_SECONDS)


def _shown(lags: Sequence[Lag], before: dict[Reading, Lag]) -> Group:
    """Return the table and the sentence; where a table would lose words, a line and a half for each row of it."""
    found = _table(lags, before)
    if console().width >= _TABLE_COLUMNS_MIN:
        return Group(found, f"\n{_sentence(lags)}")
    lines = [
        f"{lag.reading.group.removeprefix(GROUP_PREFIX)} < {lag.reading.topic}\n"
        f"  {lag.records:,} records, {lag.seconds:.1f} s\n"
        f"  members: {lag.members or '[red]none[/]'}, caught up: {_caught_up(lag, before)}"
        for lag in lags
    ]
    return Group(*lines, f"\n{_sentence(lags)}")


def _table(lags: Sequence[Lag], before: dict[Reading, Lag]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in _WORDS else "right", no_wrap=True)
    for lag in lags:
        members = str(lag.members) if lag.members else "[red]none[/]"
        table.add_row(
            lag.reading.group.removeprefix(GROUP_PREFIX),
            lag.reading.topic,
            f"{lag.records:,}",
            f"{lag.seconds:.1f}",
            f"{lag.seconds / CODE_LIFE.total_seconds():.0%}",
            members,
            _caught_up(lag, before),
        )
    return table


def _sentence(lags: Sequence[Lag]) -> str:
    """Return who is behind, the worst first, or that nobody is."""
    gone = sorted({lag.reading.group.removeprefix(GROUP_PREFIX) for lag in lags if not lag.members})
    behind = sorted((lag for lag in lags if lag.records), key=lambda lag: lag.seconds, reverse=True)
    parts = [f"Nobody reads for {', '.join(gone)}: is it running?"] if gone else []
    if behind:
        worst = behind[0]
        group = worst.reading.group.removeprefix(GROUP_PREFIX)
        share = f"{worst.seconds / CODE_LIFE.total_seconds():.0%} of a code's life"
        parts.append(f"{group} is furthest behind: {worst.seconds:.0f} s on {worst.reading.topic}, {share}.")
    return " ".join(parts) or "Nobody is behind."


def _caught_up(lag: Lag, before: dict[Reading, Lag]) -> str:
    if not lag.reaches_back:
        return "records were deleted unread"
    if lag.records == 0:
        return "yes"
    earlier = before.get(lag.reading)
    left = None if earlier is None else lag.caught_up_in(earlier)
    return "no nearer" if left is None else f"in {left.total_seconds():.0f} s"


def _document(lag: Lag, before: dict[Reading, Lag]) -> dict[str, Any]:
    earlier = before.get(lag.reading)
    left = timedelta(0) if lag.records == 0 else None if earlier is None else lag.caught_up_in(earlier)
    return {
        "group": lag.reading.group,
        "topic": lag.reading.topic,
        "records": lag.records,
        "seconds": round(lag.seconds, 3),
        "of_code_life": round(lag.seconds / CODE_LIFE.total_seconds(), 3),
        "members": lag.members,
        "caught_up_in_seconds": None if left is None else round(left.total_seconds(), 1),
        "records_deleted_unread": not lag.reaches_back,
    }

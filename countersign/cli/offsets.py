"""Move a group's place on a topic, as the last resort.

To have events folded again, use `countersign replay`: it reads beside the service, and nobody waits. This is for a
group that stands where it cannot go on, and for a topic that was restored. All processes of the service have to be
stopped. What it reads again has no effect a second time; who needs it waits until it has read to the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from countersign.cli.database import address_of, database, recorded
from countersign.cli.failures import naming_kafka
from countersign.cli.moments import moment_of
from countersign.cli.options import AsJson, Bootstrap, Dsn, Execute, Reason, Who, reason_of
from countersign.cli.printing import console
from countersign.cli.surroundings import CommandFailedError, Surroundings
from countersign.clock import system_clock
from countersign.operations import journal
from countersign.operations.connecting import connected
from countersign.operations.lag import GROUP_PREFIX, readings
from countersign.operations.offsets import RECORDS_PER_SECOND, OffsetsError, Undo, commit, plan_reset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from countersign.operations.offsets import Reset, Target
    from countersign.runtime.broker.kafka import KafkaConnection

HELP = "move a group's place on a topic, as the last resort"
app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)
_ENDS: Mapping[str, Literal["earliest", "latest"]] = {"earliest": "earliest", "latest": "latest"}
# Whoever logs in or exports waits for these; for the others nobody does.
_WAITED_FOR = {
    f"{GROUP_PREFIX}risk_evaluator": "access.requests.v1",
    f"{GROUP_PREFIX}verifier": "access.assessments.v1",
    f"{GROUP_PREFIX}notifier": "access.challenges.v1",
}
_Partition = Annotated[list[int] | None, typer.Option(help="only this one; may be given several times")]
_UndoFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="where to write the way back (else a name with the time)")
]
_Rate = Annotated[float, typer.Option(min=1, metavar="N", help="records a second that the service reads (an estimate)")]
_Confirm = Annotated[str | None, typer.Option(metavar="TEXT", help="how long people wait, as the plan says, once more")]


@app.callback()
def _group() -> None:
    """Keep `reset` a command of its own name."""


@app.command(
    epilog="\b\ntry:\n"
    "  countersign offsets reset --group countersign.exports --topic access.decisions.v1 --to 2h\n"
    "  countersign offsets reset --group countersign.exports --topic access.decisions.v1 --to 2h \\\n"
    '    --reason "restored, ticket 4711" --confirm "12 s" --execute\n'
    '  countersign offsets reset --undo offsets-exports.json --reason "too far" --confirm "0 s" --execute'
)
def reset(  # noqa: PLR0913 - one argument for each option
    *,
    group: Annotated[str | None, typer.Option(help="the group, e.g. countersign.exports")] = None,
    topic: Annotated[str | None, typer.Option(help="a topic that it reads")] = None,
    to: Annotated[
        str | None, typer.Option(metavar="WHERE", help="earliest, latest, a time, or 2h: as of two hours ago")
    ] = None,
    partition: _Partition = None,
    undo: Annotated[Path | None, typer.Option(metavar="FILE", help="go back to where an earlier reset began")] = None,
    undo_file: _UndoFile = None,
    rate: _Rate = RECORDS_PER_SECOND,
    confirm: _Confirm = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    dsn: Dsn = None,
) -> int:
    """Show what moving the group would do and, with --execute, move it; the way back is written to a file first.

    Exit codes: 0 shown or moved, 1 there is nothing to move or the group has members, 2 a server does not answer or an
    argument does not fit.
    """
    why = reason_of(reason) if execute else ""
    group, topic, target = _wanted(group, topic, to, undo)
    kafka = Surroundings.found().kafka(bootstrap)
    address = address_of(dsn) if execute else ""
    found = _planned(kafka, group, topic, target, partition)
    seconds = f"{found.waits(rate).total_seconds():.0f} s"
    asked = f"{seconds}, {found.skipped} skipped" if found.skipped else seconds
    _print(found, asked, rate, as_json=as_json)
    if not found.changes:
        return _said("The group is there already: nothing is moved.", 1)
    if found.refusal is not None:
        return _said(f"{found.refusal}.", 1)
    if not execute:
        return _said(f'Nothing was done: add --reason, --confirm "{asked}" and --execute.', 0)
    _require_typed(confirm, asked)
    file = undo_file or Path(f"offsets-{_service(group)}-{system_clock():%Y%m%dT%H%M%SZ}.json")
    with naming_kafka(kafka):
        asyncio.run(_move(kafka, address, found, file, (who or journal.who(), why)))
    return _said(f"Moved. The way back: countersign offsets reset --undo {file} --reason …", 0)


def _wanted(group: str | None, topic: str | None, to: str | None, undo: Path | None) -> tuple[str, str, Target]:
    """Return the group, the topic and where to. Raises CommandFailedError."""
    if undo is not None:
        if group or topic or to:
            raise CommandFailedError(
                "--undo: the file says which group, topic and offsets; leave --group, --topic and --to out"
            )
        back = _read(undo)
        return _known(back.group, back.topic), back.topic, back
    if group is None or topic is None or to is None:
        raise CommandFailedError("what? Give --group, --topic and --to, or --undo FILE")
    target = _ENDS.get(to) or moment_of(to, "--to")
    assert target is not None
    return _known(group, topic), topic, target


def _known(group: str, topic: str) -> str:
    """Return a group that reads the topic, by its whole name. Raises CommandFailedError."""
    whole = group if group.startswith(GROUP_PREFIX) else f"{GROUP_PREFIX}{group}"
    topics = sorted(one.topic for one in readings() if one.group == whole)
    if not topics:
        raise CommandFailedError(f"there is no group {whole}: see `countersign lag`")
    if topic not in topics:
        raise CommandFailedError(f"{whole} does not read {topic}; it reads {', '.join(topics)}")
    return whole


def _service(group: str) -> str:
    """Return whose group it is; a service may have groups of its own below its name."""
    return group.removeprefix(GROUP_PREFIX).partition(".")[0]


def _read(file: Path) -> Undo:
    try:
        return Undo.parsed(file.read_bytes())
    except OSError as error:
        raise CommandFailedError(f"{file} cannot be read: {error.strerror}") from error
    except OffsetsError as error:
        raise CommandFailedError(f"{file}: {error}") from None


def _keep(undo: Undo, file: Path) -> None:
    try:
        undo.write(file)
    except OSError as error:
        raise CommandFailedError(f"{file} cannot be written: {error.strerror}; nothing was moved") from error


def _planned(kafka: KafkaConnection, group: str, topic: str, target: Target, partitions: list[int] | None) -> Reset:
    async def look() -> Reset:
        async with connected(kafka) as cluster:
            return await plan_reset(cluster, group, topic, target, partitions or None)

    with naming_kafka(kafka):
        try:
            return asyncio.run(look())
        except OffsetsError as error:
            raise CommandFailedError(str(error)) from None


async def _move(kafka: KafkaConnection, address: str, found: Reset, file: Path, by: tuple[str, str]) -> None:
    """Keep the way back, then move it, with a row before and its outcome after in the schema of the group's service."""
    moves = {str(one.partition): [one.committed, one.target] for one in found.changes}
    planned = {"group": found.group, "topic": found.topic, "moves": moves, "undo": str(file)}
    async with database(address) as db:
        _keep(found.undo(system_clock()), file)
        async with recorded(db, _service(found.group), "offsets reset", *by, planned) as outcome:
            try:
                await commit(kafka, found)
            except OffsetsError as error:
                outcome["refused"] = str(error)
                raise CommandFailedError(str(error)) from None
            outcome["moved"] = len(found.changes)


def _require_typed(confirm: str | None, asked: str) -> None:
    """Have what people will feel typed by whoever decides it. Raises CommandFailedError."""
    typed = confirm
    if typed is None and sys.stdin.isatty():
        typed = typer.prompt(f"Type {asked} to go on", default="", show_default=False)
    if typed != asked:
        raise CommandFailedError(f'not confirmed: type {asked}, or give --confirm "{asked}"; nothing was moved')


def _print(found: Reset, asked: str, rate: float, *, as_json: bool) -> None:
    if as_json:
        sums = {"again": found.again, "skipped": found.skipped, "confirm": asked}
        sys.stdout.write(json.dumps(found.model_dump(mode="json") | sums) + "\n")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("partition", "now", "then", "read again", "skipped", "left to read"):
        table.add_column(heading, justify="right", overflow="fold")
    for one in found.moves:
        now = "nothing" if one.committed is None else f"{one.committed:,}"
        figures = (one.target, one.again, one.skipped, one.unread)
        table.add_row(str(one.partition), now, *(f"{figure:,}" for figure in figures))
    console().print(table)
    sys.stdout.writelines(f"{line}\n" for line in _effects(found, rate))


def _effects(found: Reset, rate: float) -> Iterator[str]:
    """Yield what people will feel, in sentences."""
    seconds = f"{found.waits(rate).total_seconds():.0f} s"
    at = f"once the service runs again, at {rate:,.0f} records a second"
    if _WAITED_FOR.get(found.group) == found.topic:
        yield f"Nobody who needs a decision gets in for about {seconds} {at}, and while it is stopped."
    else:
        yield f"Nobody waits for this at once. What the service learns here is late by about {seconds} {at}."
    if found.again:
        yield f"{found.again:,} records are read again; what was done for them is not done twice."
    if found.skipped:
        yield f"{found.skipped:,} records are never read: what they ask for is never done, and nobody is told."


def _said(words: str, code: int) -> int:
    sys.stderr.write(f"{words}\n")
    return code

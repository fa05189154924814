"""Show the end of a topic: decoded, without codes, signatures and personal data, in the order of the broker's clock.

As tail(1): without --since the newest --last records, and then the command ends; with --follow it goes on with what is
appended, until Ctrl-C. --type, --key and --where choose among these records; to look further back, give --since, which
seeks by time and reads nothing before. Several --type: any of them. Several --where: all of them. A field that is not
there is null. On a terminal what lets somebody in is green, what asks for a code is yellow, what ends without a grant
or cannot be read is red. With --json one JSON object is printed for each record.

Exit codes: 0 something was shown, 1 nothing fits, 2 Kafka does not answer or an argument is wrong, 130 Ctrl-C.

try:
  countersign tail access.decisions.v1 --since 10m --type access.denied
  countersign tail access.requests.v1 --since 2h --where client.ip==192.0.2.1 --where action!=login
  countersign tail sms.deliveries.v1 --follow --json
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from countersign.cli.event_types import type_named
from countersign.cli.failures import naming_kafka
from countersign.cli.options import AsJson, Bootstrap  # noqa: TC001 - typer reads the annotations
from countersign.cli.surroundings import CommandFailedError, Surroundings
from countersign.clock import system_clock
from countersign.contract.topics import TYPES_OF
from countersign.operations.durations import parse_duration
from countersign.operations.log import TopicAbsentError, reading_log
from countersign.operations.masking import masked
from countersign.operations.tailing import Condition, Filter, Tail
from countersign.runtime.messages.cloudevents import made_fit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import timedelta

    from countersign.runtime.messages.record import Record

HELP = "show the end of a topic, decoded and masked"
_GREEN = frozenset({"granted", "allow", "accepted", "enabled", "confirmed"})
_YELLOW = frozenset({"issued", "challenge", "unknown"})
_RED = frozenset({"denied", "deny", "refused", "suppressed", "disabled"})


def command(  # noqa: PLR0913 - one argument for each option
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help=f"one of {', '.join(sorted(TYPES_OF))}")],
    *,
    since: Annotated[
        str | None, typer.Option(metavar="SPAN", help="how far back: 90s, 10m, 2h, 7d; all of it is shown")
    ] = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, max=10_000, help="without --since: so many records")] = 10,
    type_: Annotated[list[str] | None, typer.Option("--type", metavar="TYPE", help="e.g. access.denied")] = None,
    key: Annotated[str | None, typer.Option(metavar="TEXT", help="the record's key")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="FIELD==VALUE", help="or FIELD!=VALUE; fields are dotted")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until Ctrl-C")] = False,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
) -> int:
    """Seek, read and print."""
    if topic not in TYPES_OF:
        raise CommandFailedError(f"no such topic: there are {', '.join(sorted(TYPES_OF))}")
    wanted = _filter(topic, type_ or (), key, where or ())
    back = None if since is None else _back(since)
    kafka = Surroundings.found().kafka(bootstrap)
    console = Console(highlight=False, soft_wrap=True)

    async def show() -> int:
        shown = 0
        async with reading_log(kafka, (topic,)) as log:
            tail = Tail(log)
            if back is None:
                await tail.last(last)
            else:
                await tail.since(system_clock() - back)
            async for record in _chosen(tail, last if back is None else None, wanted, follow=follow):
                _print(record, console, as_json=as_json)
                shown += 1
        return shown

    try:
        with naming_kafka(kafka):
            shown = asyncio.run(show())
    except TopicAbsentError as error:
        raise CommandFailedError(f"{error}: see `countersign topics plan`") from None
    if not shown:
        nothing = "No record fits" if back is not None else f"None of the newest {last} records fits"
        sys.stderr.write(f"{nothing}: give --since SPAN to look further back.\n")
    return 0 if shown else 1


async def _chosen(tail: Tail, last: int | None, wanted: Filter, *, follow: bool) -> AsyncIterator[Record]:
    """Yield the records to show. Of `last` of each partition the newest `last` of all are taken before the filter."""
    newest: deque[Record] = deque(maxlen=last)
    async for record in tail.records():
        if last is not None:
            newest.append(record)
        elif wanted.lets_through(record):
            yield record
    for record in newest:
        if wanted.lets_through(record):
            yield record
    if follow:
        async for record in tail.following():
            if wanted.lets_through(record):
                yield record


def _back(since: str) -> timedelta:
    try:
        return parse_duration(since)
    except ValueError as error:
        raise CommandFailedError(f"--since {error}") from None


def _filter(topic: str, types: Sequence[str], key: str | None, where: Sequence[str]) -> Filter:
    full = frozenset(type_named(topic, name) for name in types)
    try:
        conditions = tuple(Condition.parsed(each) for each in where)
    except ValueError as error:
        raise CommandFailedError(f"--where {error}") from None
    return Filter(types=full, key=key, conditions=conditions)


def _print(record: Record, console: Console, *, as_json: bool) -> None:
    shown = _document(record)
    if as_json:
        sys.stdout.write(json.dumps(shown) + "\n")
        sys.stdout.flush()
        return
    event = str(shown["type"] or "(no type)").removeprefix("countersign.").rpartition(".v")[0] or "(no type)"
    value = shown["value"]
    words = f"cannot be read: {shown['bytes']} bytes" if value is None else json.dumps(value, ensure_ascii=False)
    where = f"{record.partition}@{record.offset}"
    line = f"{record.appended_at:%Y-%m-%d %H:%M:%S.%f}  {where:>10}  {event:<24}  {shown['key'] or '(no key)'}  {words}"
    console.print(Text(made_fit(line), style=_style(event, value)))
    console.file.flush()


def _document(record: Record) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "appended_at": record.appended_at.isoformat(),
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "type": _header(record, "ce_type"),
        "source": _header(record, "ce_source"),
        "time": _header(record, "ce_time"),
        "value": masked(record.topic, record.value),
        "bytes": len(record.value or b""),
    }


def _header(record: Record, name: str) -> str | None:
    value = record.header(name)
    return None if value is None else value.decode("utf-8", "replace")


def _style(event: str, value: dict[str, Any] | None) -> str:
    if value is None:
        return "bold red"
    words = {event.rpartition(".")[2], str(value.get("outcome", ""))}
    for found, style in ((_RED, "red"), (_YELLOW, "yellow"), (_GREEN, "green")):
        if words & found:
            return style
    return ""

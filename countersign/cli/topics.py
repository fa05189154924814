"""Compare the cluster's topics with the reviewed files of schemas/topics, and mend what differs.

A topic, a partition or a record is never removed, and no limit is lowered: such differences are shown and left alone.
More partitions need --allow-rekey: keys then move to other partitions, and newer records of an account can be read
before its older ones.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from countersign.cli.database import address_of, database, recorded
from countersign.cli.failures import naming_kafka
from countersign.cli.options import AsJson, Bootstrap, Dsn, Execute, Reason, Who, reason_of
from countersign.cli.printing import console
from countersign.cli.surroundings import CommandFailedError, Surroundings
from countersign.contract.topic_files import topic_files
from countersign.operations import journal
from countersign.operations.connecting import connected
from countersign.operations.topics import Difference, Topics, differences

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from countersign.contract.topic_files import TopicFile

HELP = "compare the cluster's topics with schemas/topics, and mend"
app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)
Topic = Annotated[list[str] | None, typer.Option(help="only this topic; may be given several times")]
AllowRekey = Annotated[bool, typer.Option("--allow-rekey", help="add partitions: keys move to other partitions")]
_SETTLED_WITHIN_SECONDS = 10.0


@app.command(epilog="\b\ntry:\n  countersign topics plan\n  countersign topics plan --topic access.requests.v1 --json")
def plan(
    *,
    topic: Topic = None,
    allow_rekey: AllowRekey = False,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
) -> int:
    """Show what differs. Exit codes: 0 nothing does, 1 something does, 2 Kafka does not answer."""
    files = _files(topic)
    kafka = Surroundings.found().kafka(bootstrap)

    async def look() -> list[Difference]:
        async with connected(kafka) as cluster:
            present = await Topics(cluster.admin).present([each.topic for each in files])
            return differences(files, present, allow_rekey=allow_rekey)

    with naming_kafka(kafka):
        found = asyncio.run(look())
    _print(found, as_json=as_json)
    return 1 if found else 0


@app.command(epilog='\b\ntry:\n  countersign topics apply\n  countersign topics apply --reason "release 1.4" --execute')
def apply(  # noqa: PLR0913 - one argument for each option
    *,
    topic: Topic = None,
    allow_rekey: AllowRekey = False,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    dsn: Dsn = None,
) -> int:
    """Show what differs and, with --execute, mend it. Who did it and why is kept before and after.

    Exit codes: 0 nothing differs (any more), 1 something does, 2 a server does not answer or an argument is missing.
    """
    why = reason_of(reason) if execute else ""
    files = _files(topic)
    kafka = Surroundings.found().kafka(bootstrap)
    address = address_of(dsn) if execute else ""

    async def act() -> list[Difference]:
        async with connected(kafka) as cluster:
            topics = Topics(cluster.admin)
            found = differences(files, await topics.present([each.topic for each in files]), allow_rekey=allow_rekey)
            _print(found, as_json=as_json)
            if not execute or all(each.left for each in found):
                return found
            async with database(address) as db:
                await _mend(topics, db, files, found, who or journal.who(), why)
            return await _settled(topics, files, found, allow_rekey=allow_rekey)

    with naming_kafka(kafka):
        rest = asyncio.run(act())
    if not execute:
        sys.stderr.write("Nothing was done: add --reason and --execute.\n" if rest else "")
    elif not rest:
        sys.stderr.write("The cluster is as the files say.\n")
    else:
        sys.stderr.write(f"{len(rest)} differences are left: see `countersign topics plan`.\n")
    return 1 if rest else 0


async def _mend(
    topics: Topics,
    db: asyncpg.Connection,
    files: Sequence[TopicFile],
    found: Sequence[Difference],
    by: str,
    reason: str,
) -> None:
    """Mend topic by topic, each with a row before and its outcome after in the schema of the topic's owner."""
    replication = await topics.replication()
    by_name = {file.topic: file for file in files}
    wanted = sorted((each for each in found if each.left is None), key=lambda each: each.topic)
    for name, changes in groupby(wanted, key=lambda each: each.topic):
        of_topic = list(changes)
        file = by_name[name]
        planned = {"topic": name, "changes": [asdict(each) for each in of_topic]}
        async with recorded(db, file.owner, "topics apply", by, reason, planned) as outcome:
            await topics.mend(file, of_topic, replication)
            outcome["changed"] = len(of_topic)


async def _settled(
    topics: Topics, files: Sequence[TopicFile], before: Sequence[Difference], *, allow_rekey: bool
) -> list[Difference]:
    """Return what still differs, once the brokers have heard of what was changed."""
    left = sum(each.left is not None for each in before)
    loop = asyncio.get_running_loop()
    until = loop.time() + _SETTLED_WITHIN_SECONDS
    while True:
        found = differences(files, await topics.present([each.topic for each in files]), allow_rekey=allow_rekey)
        if len(found) <= left or loop.time() > until:
            return found
        await asyncio.sleep(0.2)


def _files(names: Sequence[str] | None) -> list[TopicFile]:
    files = [each for each in topic_files() if names is None or each.topic in names]
    if unknown := set(names or ()) - {each.topic for each in files}:
        raise CommandFailedError(f"no file of {', '.join(sorted(unknown))}: see schemas/topics")
    return files


def _print(found: Sequence[Difference], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.writelines(json.dumps(asdict(each)) + "\n" for each in found)
        return
    if not found:
        sys.stdout.write("No difference.\n")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("topic", "what", "now", "wanted", ""):
        table.add_column(heading, overflow="fold")
    for each in found:
        verdict = f"left alone: {each.left}" if each.left else "created" if each.kind == "topic" else "changed"
        table.add_row(each.topic, each.name, each.now or "missing", each.wanted, verdict)
    console().print(table)

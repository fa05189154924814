"""Show why a message was refused: the dead letters of every service whose tables the given role may read.

Says topic, partition, offset and the cause, which names the field and quotes no value. A request that was read is not
refused as a message; then the verifier is asked what it decided. With --json one JSON object is printed for each.

Exit codes: 0 a dead letter was found, 1 there is none, 2 PostgreSQL does not answer or an argument is wrong.

try:
  countersign why                                            the ten newest
  countersign why --topic access.requests.v1 --partition 3 --offset 17
  countersign why --request-id 019cadf4-6e80-7c01-8000-000000000001
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args
from uuid import UUID  # noqa: TC003 - typer reads the annotations

import typer

from countersign.cli.database import ask
from countersign.cli.options import AsJson, Dsn  # noqa: TC001 - typer reads the annotations
from countersign.cli.publish_example import what_became_of
from countersign.cli.surroundings import CommandFailedError, Surroundings
from countersign.contract.topic_files import Service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    import asyncpg

HELP = "show why a message was refused"
_NEWEST = 10

READABLE = """
SELECT n.nspname FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'dead_letter'
 WHERE n.nspname = ANY($1::text[]) AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
 ORDER BY n.nspname
"""
# An id is looked for in the bytes: a value that cannot be parsed has no fields.
LETTERS = """
SELECT topic, partition, "offset", kind, cause, state, kept_at, value_bytes, encode(value_sha256, 'hex') AS sha256
  FROM {schema}.dead_letter
 WHERE ($1::text IS NULL OR topic = $1) AND ($2::int IS NULL OR partition = $2)
   AND ($3::bigint IS NULL OR "offset" = $3)
   AND ($4::text IS NULL OR position(convert_to(lower($4), 'UTF8') IN value) > 0
                         OR position(convert_to(upper($4), 'UTF8') IN value) > 0
                         OR request_id::text = lower($4))
 ORDER BY kept_at DESC LIMIT $5
"""


def command(
    topic: Annotated[str | None, typer.Option(help="as publish-example prints it")] = None,
    partition: Annotated[int | None, typer.Option(help="only this one")] = None,
    offset: Annotated[int | None, typer.Option(help="only this one")] = None,
    request_id: Annotated[UUID | None, typer.Option(help="any id that stands in the message does")] = None,
    newest: Annotated[int, typer.Option(min=1, max=10_000, help="at most this many")] = _NEWEST,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Print the dead letters, newest first; 1 if there is none."""
    wanted = Wanted(topic, partition, offset, request_id, newest)
    return run(wanted, dsn, Surroundings.found(), sys.stdout, as_json=as_json)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters."""

    topic: str | None
    partition: int | None
    offset: int | None
    request_id: UUID | None
    newest: int


def run(chosen: Wanted, given_dsn: str | None, around: Surroundings, out: TextIO, *, as_json: bool = False) -> int:
    """Print them and return the exit code."""
    if chosen.topic is None and (chosen.partition is not None or chosen.offset is not None):
        raise CommandFailedError("which topic? A partition and an offset are of a --topic")
    schemas, letters = ask(given_dsn, lambda db: _letters(db, chosen))
    for schema, letter in letters:
        if as_json:
            out.write(json.dumps({"service": schema, **dict(letter)}, default=str) + "\n")
        else:
            _show(schema, letter, out)
    if letters:
        return 0
    others = sys.stderr if as_json else out
    others.write(f"No dead letter of {', '.join(schemas)} fits.\n")
    if chosen.request_id is not None:
        others.write(asyncio.run(what_became_of(str(chosen.request_id), 0, around)) + "\n")
    return 1


async def _letters(db: asyncpg.Connection, chosen: Wanted) -> tuple[Sequence[str], list[tuple[str, Any]]]:
    wanted = str(chosen.request_id) if chosen.request_id is not None else None
    schemas = [row["nspname"] for row in await db.fetch(READABLE, list(get_args(Service)))]
    if not schemas:
        raise CommandFailedError("this role may read no dead letters: give --dsn of the role operator")
    found = []
    for schema in schemas:  # names from our own list above, so that they can stand in the statement
        text = LETTERS.format(schema=schema)
        rows = await db.fetch(text, chosen.topic, chosen.partition, chosen.offset, wanted, chosen.newest)
        found += [(schema, row) for row in rows]
    return schemas, sorted(found, key=lambda each: each[1]["kept_at"], reverse=True)[: chosen.newest]


def _show(schema: str, letter: Any, out: TextIO) -> None:
    out.write(
        f"{letter['topic']}  partition {letter['partition']}  offset {letter['offset']}\n"
        f"  refused by {schema} at {letter['kept_at']:%Y-%m-%d %H:%M:%S} UTC ({letter['kind']}, {letter['state']})\n"
        f"  cause  {letter['cause']}\n"
        f"  value  {letter['value_bytes']} bytes, SHA-256 {letter['sha256']}\n"
    )

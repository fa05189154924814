"""The commands that only look."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from countersign.cli.database import ask
from countersign.cli.dlq.options import BeginsWith, Kind, Most, OneService, Service, Source, State, Topic
from countersign.cli.dlq.services import letters_of, require_service
from countersign.cli.options import AsJson, Dsn
from countersign.cli.printing import print_rows
from countersign.cli.service_program import answers_of
from countersign.operations.letters import Choice, Letters
from countersign.operations.masking import masked

if TYPE_CHECKING:
    import asyncpg

    from countersign.operations.letters import Content

app = typer.Typer()
_NONE = "No dead letter fits."
_NOT_KEPT = (
    "not kept, as the cause says, or because too many records of this topic or producer were refused in that hour; the "
    "record lies on the topic at this offset for as long as the topic keeps it, and this letter cannot be redriven"
)
_TOO_OLD = (
    "it was redriven when it was more than 40 days old: whether it was folded before is forgotten by then, so it was "
    "not folded"
)


@app.command("ls", epilog="\b\ntry:\n  countersign dlq ls --kind bug --most 50")
def list_letters(  # noqa: PLR0913 - one argument for each option
    *,
    service: Service = None,
    topic: Topic = None,
    kind: Kind = None,
    state: State = None,
    cause: BeginsWith = None,
    source: Source = None,
    most: Most = 20,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """List the newest dead letters. Exit codes: 0 there is one, 1 there is none, 2 PostgreSQL does not answer."""
    choice = Choice(topic=topic, kind=kind, state=state, cause=cause, source=source)

    async def rows(db: asyncpg.Connection) -> list[dict[str, Any]]:
        return [asdict(one) for one in await letters_of(db, service).newest(choice, most)]

    return print_rows(
        ask(dsn, rows),
        ("kept_at", "service", "topic", "partition", "offset", "state", "tries", "cause"),
        _NONE,
        as_json=as_json,
    )


@app.command(epilog="\b\ntry:\n  countersign dlq groups --state new")
def groups(  # noqa: PLR0913 - one argument for each option
    *,
    service: Service = None,
    topic: Topic = None,
    kind: Kind = None,
    state: State = None,
    cause: BeginsWith = None,
    source: Source = None,
    most: Most = 20,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Count dead letters by cause and producer, with the first and the last.

    Exit codes: 0 there is one, 1 there is none, 2 PostgreSQL does not answer.
    """
    choice = Choice(topic=topic, kind=kind, state=state, cause=cause, source=source)

    async def rows(db: asyncpg.Connection) -> list[dict[str, Any]]:
        return [asdict(one) for one in await letters_of(db, service).causes(choice, most)]

    columns = ("letters", "service", "topic", "state", "first", "last", "source", "cause")
    return print_rows(ask(dsn, rows), columns, _NONE, as_json=as_json)


@app.command(epilog="\b\ntry:\n  countersign dlq show access.requests.v1 3 17")
def show(
    topic: Annotated[str, typer.Argument(help="as `countersign dlq ls` prints it")],
    partition: Annotated[int, typer.Argument(help="of the record")],
    offset: Annotated[int, typer.Argument(help="of the record")],
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Show a dead letter, secrets and personal data hidden.

    Exit codes: 0 there is one, 1 there is none, 2 PostgreSQL does not answer.
    """

    async def found(db: asyncpg.Connection) -> list[Content]:
        return await Letters(db).content(topic, partition, offset)

    contents = ask(dsn, found)
    for content in contents:
        document = _document(content)
        if as_json:
            sys.stdout.write(json.dumps(document, default=str) + "\n")
        else:
            sys.stdout.write(json.dumps(document, default=str, indent=2, ensure_ascii=False) + "\n")
    if not contents:
        sys.stderr.write("No service refused that record.\n")
    return 0 if contents else 1


@app.command(epilog="\b\ntry:\n  countersign dlq held")
def held(service: Service = None, as_json: AsJson = False, dsn: Dsn = None) -> int:
    """List partitions whose brake holds them.

    Exit codes: 0 there is none, 1 there is one, 2 PostgreSQL does not answer.
    """

    async def rows(db: asyncpg.Connection) -> list[dict[str, Any]]:
        return [asdict(one) for one in await letters_of(db, service).held()]

    brakes = ask(dsn, rows)
    print_rows(brakes, ("service", "topic", "partition", "since", "reason"), "No partition is held.", as_json=as_json)
    return 1 if brakes else 0


@app.command(epilog="\b\ntry:\n  countersign dlq check verifier")
def check(service: OneService, as_json: AsJson = False) -> int:
    """Fold a service's new dead letters with today's code and roll it back: how many would pass, how many fail, why.

    It runs as the service, with its settings: COUNTERSIGN_SECRETS_FILE and the others, or those of the local stack.
    Exit codes: 0 all would pass, 1 some would fail, 2 the service has no settings here, or PostgreSQL does not answer.
    """
    require_service(service)
    letters = answers_of(service, "check-letters", "letter")
    causes = Counter(letter["cause"] for letter in letters if letter["cause"] is not None)
    if as_json:
        sys.stdout.writelines(json.dumps(letter) + "\n" for letter in letters)
        return 1 if causes else 0
    failing = causes.total()
    if not letters:
        sys.stdout.write(f"{service} has no new dead letters.\n")
        return 0
    sys.stdout.write(f"{len(letters) - failing} of {service}'s new dead letters would pass, {failing} would fail.\n")
    sys.stdout.writelines(f"  {count}  {cause}\n" for cause, count in causes.most_common())
    return 1 if causes else 0


def _document(content: Content) -> dict[str, Any]:
    letter = content.letter
    fields = masked(letter.topic, content.value)
    return {
        **asdict(letter),
        "key": None if content.key is None else content.key.decode("utf-8", "replace"),
        "headers": {name: value.decode("utf-8", "replace")[:200] for name, value in content.headers},
        "value_bytes": content.value_bytes,
        "value_sha256": content.sha256,
        "value": fields if fields is not None else "not a JSON object" if letter.whole else _NOT_KEPT,
        **({"state_means": _TOO_OLD} if letter.state == "too_old" else {}),
    }

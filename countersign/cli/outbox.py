"""Look at outbox rows that Kafka refused for good, have them published again, or discard them.

Their content is never shown: it waits to be published. Changing commands only show what they would do until --execute
is given, which wants a --reason; who did it and why is kept beside what was changed.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from countersign.cli.changing import By, carry_out
from countersign.cli.database import ask
from countersign.cli.dlq.options import Most, OneService, Service, Topic
from countersign.cli.dlq.services import require_service
from countersign.cli.options import AsJson, Dsn, Execute, Reason, Who
from countersign.cli.printing import print_rows
from countersign.operations.letters import SERVICES
from countersign.operations.parked import OutboxDesk, ParkedChoice, ParkedRows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

HELP = "look at records that Kafka refused, publish them again"
app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)

Event = Annotated[UUID | None, typer.Option("--event", metavar="ID", help="only this row, by its event id")]
ErrorBegins = Annotated[str | None, typer.Option("--error", help="how the broker's error begins")]
_COLUMNS = ("owed_at", "service", "topic", "event_id", "parked_reason")


@app.command("ls", epilog="\b\ntry:\n  countersign outbox ls --service verifier")
def list_rows(
    *,
    service: Service = None,
    topic: Topic = None,
    event: Event = None,
    error: ErrorBegins = None,
    most: Most = 20,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """List parked rows, the newest first. Exit codes: 0 there is one, 1 there is none, 2 PostgreSQL does not answer."""
    choice = ParkedChoice(topic=topic, event_id=event, error=error)
    if service is not None:
        require_service(service)

    async def rows(db: asyncpg.Connection) -> list[dict[str, Any]]:
        of = SERVICES if service is None else [service]
        return [asdict(one) for one in await ParkedRows(db, of).newest(choice, most)]

    return print_rows(ask(dsn, rows), _COLUMNS, "No row is parked.", as_json=as_json)


@app.command(epilog='\b\ntry:\n  countersign outbox retry verifier --reason "the topic takes 64 KiB again" --execute')
def retry(  # noqa: PLR0913 - one argument for each option
    service: OneService,
    *,
    topic: Topic = None,
    event: Event = None,
    error: ErrorBegins = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Let a service publish its parked rows again, within seconds. What Kafka still refuses is parked again.

    Exit codes: 0 done or shown, 1 no row fits, 2 PostgreSQL does not answer, or no reason is given.
    """
    choice = ParkedChoice(topic=topic, event_id=event, error=error)
    by = By(reason, who, execute=execute)
    return _change(service, choice, OutboxDesk.retry, "are published again", by, dsn, as_json=as_json)


@app.command(
    epilog="\b\ntry:\n  countersign outbox discard verifier --event 019cadf4-6e80-7c01-8000-000000000001 "
    '--reason "a load test" --execute'
)
def discard(  # noqa: PLR0913 - one argument for each option
    service: OneService,
    *,
    topic: Topic = None,
    event: Event = None,
    error: ErrorBegins = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Settle a service's parked rows as discarded: nobody ever learns what they say. They stay for 40 days.

    Whoever waits for a decision or a text among them waits for nothing. Look for a way to publish them first.

    Exit codes: 0 done or shown, 1 no row fits, 2 PostgreSQL does not answer, or no reason is given.
    """
    choice = ParkedChoice(topic=topic, event_id=event, error=error)
    by = By(reason, who, execute=execute)
    return _change(service, choice, OutboxDesk.discard, "are discarded", by, dsn, as_json=as_json)


def _change(
    service: str,
    choice: ParkedChoice,
    act: Callable[[OutboxDesk, ParkedChoice], Awaitable[int]],
    done_words: str,
    by: By,
    dsn: str | None,
    *,
    as_json: bool,
) -> int:
    require_service(service)

    async def run(db: asyncpg.Connection) -> int:
        desk = OutboxDesk(db, service, by.who, by.why)
        wanted = await desk.count(choice)
        await carry_out(
            partial(act, desk, choice),
            wanted,
            by,
            shown=f"{wanted} parked rows of {service} would change.\n",
            done_words=f"rows {done_words}",
            told={"service": service, "rows": wanted},
            as_json=as_json,
        )
        return wanted

    return 0 if ask(dsn, run) else 1

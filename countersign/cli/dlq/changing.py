"""The commands that change something: shown first, done with --execute, kept with who did it and why."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from countersign.cli.database import ask
from countersign.cli.dlq.options import BeginsWith, Kind, OneService, Source, Topic
from countersign.cli.dlq.services import require_service
from countersign.cli.options import Dsn, Execute, Reason, Who, reason_of
from countersign.operations import journal
from countersign.operations.letters import TRIES_MAX, Choice, Desk, Letters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg
app = typer.Typer()


@app.command(
    epilog='\b\ntry:\n  countersign dlq redrive verifier --cause "a bug of ours"\n'
    '  countersign dlq redrive verifier --cause "a bug of ours" --rate 50 --reason "mended in 1.4.2" --execute'
)
def redrive(  # noqa: PLR0913 - one argument for each option
    service: OneService,
    *,
    topic: Topic = None,
    kind: Kind = None,
    cause: BeginsWith = None,
    source: Source = None,
    rate: Annotated[float, typer.Option(min=0.1, max=10_000, help="letters a second at most")] = 100,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    dsn: Dsn = None,
) -> int:
    """Let a service fold its new dead letters again. What fails keeps its new cause; after three tries it is parked.

    A request that waited for longer than two minutes is denied request.stale: nobody gets a text for it.
    """
    choice = Choice(topic=topic, kind=kind, cause=cause, source=source)

    async def act(desk: Desk) -> int:
        return await desk.redrive(choice, rate)

    return _change(service, choice, act, "are folded again", reason, who, dsn, execute=execute, state="redrive")


@app.command(epilog='\b\ntry:\n  countersign dlq discard exports --source /test --reason "a load test" --execute')
def discard(  # noqa: PLR0913 - one argument for each option
    service: OneService,
    *,
    topic: Topic = None,
    kind: Kind = None,
    cause: BeginsWith = None,
    source: Source = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    dsn: Dsn = None,
) -> int:
    """Settle a service's new dead letters as discarded. Their rows stay, with who did it and why."""
    choice = Choice(topic=topic, kind=kind, cause=cause, source=source)

    async def act(desk: Desk) -> int:
        return await desk.discard(choice)

    return _change(service, choice, act, "are discarded", reason, who, dsn, execute=execute)


@app.command(epilog='\b\ntry:\n  countersign dlq unpark verifier --reason "mended in 1.4.2" --execute')
def unpark(
    service: OneService,
    topic: Topic = None,
    cause: BeginsWith = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    dsn: Dsn = None,
) -> int:
    """Give dead letters that failed three times their tries back, so that they can be redriven."""
    choice = Choice(topic=topic, cause=cause)

    async def act(desk: Desk) -> int:
        return await desk.unpark(choice)

    return _change(service, choice, act, "can be redriven again", reason, who, dsn, execute=execute, parked=True)


@app.command(
    epilog='\b\ntry:\n  countersign dlq release verifier access.assessments.v1 --reason "mended in 1.4.2" --execute'
)
def release(
    service: OneService,
    topic: Annotated[str, typer.Argument()],
    partition: Annotated[int | None, typer.Option(help="only this one (else every held one of the topic)")] = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    dsn: Dsn = None,
) -> int:
    """Release the brake of a service on a topic: it reads on within seconds. Mend what it stopped for first."""
    require_service(service)

    async def act(db: asyncpg.Connection) -> list[int]:
        brakes = [one for one in await Letters(db, [service]).held() if one.topic == topic]
        wanted = [one for one in brakes if partition in {None, one.partition}]
        for brake in wanted:
            sys.stdout.write(
                f"{topic} partition {brake.partition}: held since {brake.since:%H:%M:%S} UTC, {brake.reason}\n"
            )
        if not execute or not wanted:
            return [one.partition for one in wanted]
        return await Desk(db, service, who or journal.who(), reason_of(reason)).release(topic, partition)

    partitions = ask(dsn, act)
    if not partitions:
        sys.stderr.write("No brake of that service holds that.\n")
        return 1
    sys.stdout.write("released\n" if execute else "Nothing was done: add --reason and --execute.\n")
    return 0


def _change(  # noqa: PLR0913 - what the four commands share
    service: str,
    choice: Choice,
    act: Callable[[Desk], Awaitable[int]],
    done_words: str,
    reason: str | None,
    who: str | None,
    dsn: str | None,
    *,
    execute: bool,
    state: str = "discarded",
    parked: bool = False,
) -> int:
    require_service(service)
    why = reason_of(reason) if execute else ""

    async def run(db: asyncpg.Connection) -> int:
        desk = Desk(db, service, who or journal.who(), why)
        count = await desk.count(choice, state)
        wanted = count.parked if parked else count.ready
        sys.stdout.write(f"{wanted} letters of {service} would change.")
        if count.parked and not parked:
            sys.stdout.write(f" {count.parked} more are parked after {TRIES_MAX} tries.")
        if count.without_content and state == "redrive":
            sys.stdout.write(
                f" {count.without_content} more were kept without their content and cannot be folded again: their "
                "records are on the topic; see `countersign replay plan`."
            )
        sys.stdout.write("\n")
        if not execute:
            sys.stdout.write("Nothing was done: add --reason and --execute.\n")
        elif wanted:
            sys.stdout.write(f"{await act(desk)} letters {done_words}.\n")
        return wanted

    return 0 if ask(dsn, run) else 1

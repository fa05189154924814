"""The commands that change something: shown first, done with --execute, kept with who did it and why."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from countersign.cli.changing import NOT_DONE, By, carry_out
from countersign.cli.database import ask
from countersign.cli.dlq.options import BeginsWith, Kind, OneService, Source, Topic
from countersign.cli.dlq.services import require_service
from countersign.cli.options import AsJson, Dsn, Execute, Reason, Who
from countersign.operations.letters import TRIES_MAX, Choice, Desk, Letters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from countersign.operations.letters import Brake, Count

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
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Let a service fold its new dead letters again. What fails keeps its new cause; after three tries it is parked.

    A request that waited for longer than two minutes is denied request.stale: nobody gets a text for it.

    Exit codes: 0 done or shown, 1 no letter fits, 2 PostgreSQL does not answer, or no reason is given.
    """
    choice = Choice(topic=topic, kind=kind, cause=cause, source=source)

    async def act(desk: Desk) -> int:
        return await desk.redrive(choice, rate)

    by = By(reason, who, execute=execute)
    return _change(service, choice, act, "are folded again", by, dsn, as_json=as_json, state="redrive")


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
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Settle a service's new dead letters as discarded. Their rows stay, with who did it and why.

    Exit codes: 0 done or shown, 1 no letter fits, 2 PostgreSQL does not answer, or no reason is given.
    """
    choice = Choice(topic=topic, kind=kind, cause=cause, source=source)

    async def act(desk: Desk) -> int:
        return await desk.discard(choice)

    return _change(service, choice, act, "are discarded", By(reason, who, execute=execute), dsn, as_json=as_json)


@app.command(epilog='\b\ntry:\n  countersign dlq unpark verifier --reason "mended in 1.4.2" --execute')
def unpark(  # noqa: PLR0913 - one argument for each option
    service: OneService,
    *,
    topic: Topic = None,
    cause: BeginsWith = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Give dead letters that failed three times their tries back, so that they can be redriven.

    Exit codes: 0 done or shown, 1 no letter fits, 2 PostgreSQL does not answer, or no reason is given.
    """
    choice = Choice(topic=topic, cause=cause)

    async def act(desk: Desk) -> int:
        return await desk.unpark(choice)

    by = By(reason, who, execute=execute)
    return _change(service, choice, act, "can be redriven again", by, dsn, as_json=as_json, parked=True)


@app.command(
    epilog='\b\ntry:\n  countersign dlq release verifier access.assessments.v1 --reason "mended in 1.4.2" --execute'
)
def release(  # noqa: PLR0913 - one argument for each option
    service: OneService,
    topic: Annotated[str, typer.Argument(help="the topic that it stopped on")],
    *,
    partition: Annotated[int | None, typer.Option(help="only this one (else every held one of the topic)")] = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Release the brake of a service on a topic: it reads on within seconds. Mend what it stopped for first.

    Exit codes: 0 done or shown, 1 no brake holds that, 2 PostgreSQL does not answer, or no reason is given.
    """
    require_service(service)
    by = By(reason, who, execute=execute)

    async def act(db: asyncpg.Connection) -> tuple[list[Brake], list[int]]:
        brakes = [one for one in await Letters(db, [service]).held() if one.topic == topic]
        wanted = [one for one in brakes if partition in {None, one.partition}]
        if not execute or not wanted:
            return wanted, []
        return wanted, await Desk(db, service, by.who, by.why).release(topic, partition)

    held, released = ask(dsn, act)
    if as_json:
        rows = ({**asdict(one), "released": one.partition in released} for one in held)
        sys.stdout.writelines(json.dumps(row, default=str) + "\n" for row in rows)
    for brake in () if as_json else held:
        since = f"{brake.since:%Y-%m-%d %H:%M:%S}"
        sys.stdout.write(f"{topic} partition {brake.partition}: held since {since} UTC, {brake.reason}\n")
    if not held:
        sys.stderr.write(f"No brake of {service} holds a partition of {topic}.\n")
        return 1
    if not as_json:
        sys.stdout.write("released\n" if execute else NOT_DONE)
    return 0


def _change(  # noqa: PLR0913 - what the three commands share
    service: str,
    choice: Choice,
    act: Callable[[Desk], Awaitable[int]],
    done_words: str,
    by: By,
    dsn: str | None,
    *,
    as_json: bool,
    state: str = "discarded",
    parked: bool = False,
) -> int:
    require_service(service)

    async def run(db: asyncpg.Connection) -> int:
        desk = Desk(db, service, by.who, by.why)
        count = await desk.count(choice, state)
        wanted = count.parked if parked else count.ready
        await carry_out(
            partial(act, desk),
            wanted,
            by,
            shown=_shown(service, wanted, count, parked=parked, redrives=state == "redrive"),
            done_words=f"letters {done_words}",
            told={"service": service, "letters": wanted} | asdict(count),
            as_json=as_json,
        )
        return wanted

    return 0 if ask(dsn, run) else 1


def _shown(service: str, wanted: int, count: Count, *, parked: bool, redrives: bool) -> str:
    """Return what a change would do to how many letters, and which it would pass over."""
    told = [f"{wanted} letters of {service} would change."]
    if count.parked and not parked:
        told.append(f"{count.parked} more are parked after {TRIES_MAX} tries.")
    if count.without_content and redrives:
        told.append(
            f"{count.without_content} more were kept without their content and cannot be folded again: their records "
            "are on the topic; see `countersign replay plan`."
        )
    return " ".join(told) + "\n"

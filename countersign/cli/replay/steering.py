"""`replay status`, `pause` and `abort`: they look at the journal and write to it; the replay itself obeys."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from countersign.cli.database import ask
from countersign.cli.dlq.options import Service
from countersign.cli.dlq.services import require_service
from countersign.cli.options import AsJson, Dsn, Who, reason_of
from countersign.cli.replay.options import ReplayId, WhyNeeded, id_of
from countersign.cli.replay.running import service_of
from countersign.cli.surroundings import CommandFailedError
from countersign.operations import journal
from countersign.operations.letters import SERVICES
from countersign.operations.replays import Replays, Status, listed
from countersign.runtime.replay.plan import PlanError
from countersign.runtime.replay.plan import listed as in_words

if TYPE_CHECKING:
    import asyncpg

app = typer.Typer()


@app.command(epilog="\b\ntry:\n  countersign replay status --json")
def status(
    replay_id: Annotated[str | None, typer.Argument(metavar="ID", help="only this one")] = None,
    *,
    service: Service = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """List replays, the newest first, with who began them and why.

    `interrupted`: it should be running and no process is at it. Resume or abort it. Exit codes: 0 there is one, 1 there
    is none, 2 PostgreSQL does not answer.
    """
    if service is not None:
        require_service(service)
    wanted = None if replay_id is None else id_of(replay_id)

    async def found(db: asyncpg.Connection) -> list[Status]:
        return await listed(db, SERVICES if service is None else [service], wanted)

    replays = ask(dsn, found)
    for one in replays:
        if as_json:
            sys.stdout.write(json.dumps(asdict(one), default=str) + "\n")
        else:
            sys.stdout.write(_line(one))
    if not replays:
        sys.stderr.write("No replay fits.\n")
    return 0 if replays else 1


@app.command(epilog='\b\ntry:\n  countersign replay pause 6f1c… --reason "the evening peak"')
def pause(replay_id: ReplayId, *, reason: WhyNeeded, who: Who = None, as_json: AsJson = False, dsn: Dsn = None) -> int:
    """Let a running replay end after the batch in hand, within a second. `resume` goes on from there.

    Exit codes: 0 asked for, 2 there is no such replay, it does not run, or PostgreSQL does not answer.
    """
    return _steered(replay_id, "pause", reason_of(reason), who, dsn, as_json=as_json)


@app.command(epilog='\b\ntry:\n  countersign replay abort 6f1c… --reason "the wrong week"')
def abort(replay_id: ReplayId, *, reason: WhyNeeded, who: Who = None, as_json: AsJson = False, dsn: Dsn = None) -> int:
    """End a replay for good after the batch in hand. What it did stays done; nothing more is.

    Exit codes: 0 asked for, 2 there is no such replay, it is over, or PostgreSQL does not answer.
    """
    return _steered(replay_id, "abort", reason_of(reason), who, dsn, as_json=as_json)


def _steered(replay_id: str, deed: str, why: str, who: str | None, dsn: str | None, *, as_json: bool) -> int:
    wanted = id_of(replay_id)

    async def act(db: asyncpg.Connection) -> Status:
        service = await service_of(db, wanted)
        replays = Replays(db, service, who or journal.who(), why)
        await (replays.pause(wanted) if deed == "pause" else replays.abort(wanted))
        (one,) = await listed(db, [service], wanted)
        return one

    try:
        one = ask(dsn, act)
    except PlanError as refusal:
        raise CommandFailedError(str(refusal)) from None
    sys.stdout.write(json.dumps(asdict(one), default=str) + "\n" if as_json else _line(one))
    return 0


def _line(one: Status) -> str:
    effects = {name.removeprefix("effect "): n for name, n in one.effects.items() if name.startswith("effect ")}
    lines = [
        f"{one.replay_id}  {one.state}  {one.service}  {one.topic}  {one.records:,} of {one.planned:,} records",
        f"  since {one.began_at:%Y-%m-%d %H:%M:%S} UTC by {one.who}: {one.reason}; effects: {in_words(effects)}",
    ]
    if one.cause:
        lines.append(f"  {one.cause}")
    return "\n".join(lines) + "\n"

"""`replay run` and `replay resume`: a plan is carried out, and no more than the plan."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from countersign.cli.database import ask
from countersign.cli.dlq.services import require_service
from countersign.cli.options import AsJson, Dsn, Who, reason_of
from countersign.cli.replay.options import Confirm, ReplayId, WhyNeeded, id_of, rate_of
from countersign.cli.replay.planning import described
from countersign.cli.replay.program import relay
from countersign.cli.surroundings import CommandFailedError, Surroundings
from countersign.operations import journal
from countersign.operations.replays import Replays, listed
from countersign.runtime.replay.plan import RATE_DEFAULT, Plan, PlanError
from countersign.runtime.replay.plan import listed as in_words
from countersign.runtime.replay.program import DONE

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

app = typer.Typer()


@app.command(epilog='\b\ntry:\n  countersign replay run plan.json --reason "mended in 1.4.2" --rate 200/s')
def run(
    file: Annotated[Path, typer.Argument(metavar="PLAN", help="a file that `countersign replay plan` wrote")],
    *,
    reason: WhyNeeded,
    rate: Annotated[str, typer.Option(metavar="N/s", help="records a second at most")] = f"{RATE_DEFAULT:g}/s",
    confirm: Confirm = None,
    who: Who = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Fold the records of a plan again. What would go beyond the plan stops the run before it is saved.

    Ctrl-C pauses it. Exit codes: 0 it is done, 1 it was paused, stopped or aborted, 2 it could not begin.
    """
    why, speed = reason_of(reason), rate_of(rate)
    try:
        plan = Plan.parsed(file.read_bytes())
        plan.require_harmless()
    except OSError as error:
        raise CommandFailedError(f"{file} cannot be read: {error.strerror}") from error
    except PlanError as refusal:
        raise CommandFailedError(f"{file}: {refusal}") from None
    require_service(plan.asked.service)
    if not as_json:
        sys.stdout.writelines(f"{line}\n" for line in described(plan))
    _confirmed(plan.asked.topic, confirm)

    async def begin(db: asyncpg.Connection) -> UUID:
        return await Replays(db, plan.asked.service, who or journal.who(), why).begin(plan, speed)

    return _watched(plan.asked.service, _asked(dsn, begin), as_json=as_json)


@app.command(epilog='\b\ntry:\n  countersign replay resume 6f1c… --reason "the database is back"')
def resume(replay_id: ReplayId, *, reason: WhyNeeded, who: Who = None, as_json: AsJson = False, dsn: Dsn = None) -> int:
    """Go on with a replay that was paused, stopped or interrupted, from where its journal says.

    Exit codes: 0 it is done, 1 it was paused, stopped or aborted, 2 it could not go on.
    """
    wanted, why = id_of(replay_id), reason_of(reason)

    async def begin(db: asyncpg.Connection) -> str:
        service = await service_of(db, wanted)
        await Replays(db, service, who or journal.who(), why).resume(wanted)
        return service

    return _watched(_asked(dsn, begin), wanted, as_json=as_json)


async def service_of(db: asyncpg.Connection, replay_id: UUID) -> str:
    """Return whose replay it is. Raises PlanError."""
    found = await listed(db, replay_id=replay_id)
    if not found:
        raise PlanError(f"there is no replay {replay_id}: `countersign replay status` lists them")
    return found[0].service


def _asked(dsn: str | None, work: Any) -> Any:
    try:
        return ask(dsn, work)
    except PlanError as refusal:
        raise CommandFailedError(str(refusal)) from None


def _confirmed(topic: str, confirm: str | None) -> None:
    """Have the topic's name typed wherever this is not a stack of one's own. Raises CommandFailedError."""
    if Surroundings.found().is_local:
        return
    typed = confirm
    if typed is None and sys.stdin.isatty():
        typed = typer.prompt(
            f"This is production. Type the topic's name ({topic}) to go on", default="", show_default=False
        )
    if typed != topic:
        raise CommandFailedError(f"not confirmed: type the topic's name, or give --confirm {topic}; nothing was done")


def _watched(service: str, replay_id: UUID, *, as_json: bool) -> int:
    last: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=as_json or not console.is_terminal) as progress:
        task = progress.add_task("replay", total=None)

        def said(line: dict[str, Any]) -> None:
            last.update(line["replay"])
            progress.update(task, completed=last["records"], total=last["of"])
            if as_json:
                sys.stdout.write(json.dumps(line["replay"]) + "\n")
                sys.stdout.flush()

        try:
            status = relay(service, ["replay-run", str(replay_id)], said)
        except CommandFailedError as failure:
            raise CommandFailedError(
                f"{failure} (replay {replay_id}: `countersign replay status {replay_id}`)"
            ) from None
    if not as_json:
        sys.stdout.write(_ending(replay_id, last) + "\n")
    return 0 if status == DONE else 1


def _ending(replay_id: UUID, last: dict[str, Any]) -> str:
    effects = {name.removeprefix("effect "): n for name, n in last["effects"].items() if name.startswith("effect ")}
    done = f"{last['records']:,} of {last['of']:,} records; effects: {in_words(effects)}"
    match last["state"]:
        case "done" if last["records"] < last["of"]:
            return f"Done: {done}. The others are gone: the topic keeps the latest record of a key."
        case "done":
            return f"Done: {done}."
        case "stopped":
            return f"Stopped: {last['cause']}. {done}. Resume with: countersign replay resume {replay_id} --reason …"
        case "aborted":
            return f"Aborted by somebody: {done}."
        case _:
            return f"Paused: {done}. Go on with: countersign replay resume {replay_id} --reason …"

"""`keys rotate`: a new key goes in, is found known everywhere, and then becomes active."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from countersign.cli.database import ask, recorded
from countersign.cli.keys.options import (
    Folder,
    Instances,
    OneRing,
    duration,
    files_of,
    instances_of,
    naming_files,
    ring_of,
)
from countersign.cli.options import AsJson, Dsn, Execute, Reason, Who, reason_of
from countersign.cli.surroundings import CommandFailedError
from countersign.operations import journal
from countersign.operations.keys import changes
from countersign.operations.keys.plan import ACTIVE_IN_MIN, rotation
from countersign.operations.keys.uses import now_of

if TYPE_CHECKING:
    import asyncpg

    from countersign.operations.keys.changes import Rotated
    from countersign.operations.keys.files import KeyFiles
    from countersign.operations.keys.instances import Instance
    from countersign.operations.keys.plan import Rotation

app = typer.Typer()


@dataclass(frozen=True)
class _Order:
    """What was asked for; `why` None: only to be shown."""

    files: KeyFiles
    instances: list[Instance]
    active_in: timedelta
    within: timedelta
    again: bool
    why: str | None
    by: str


@app.command(
    epilog="\b\ntry:\n  countersign keys rotate codes\n"
    '  countersign keys rotate codes --reason "yearly" --execute\n'
    "  countersign keys rotate codes --instance verifier=http://10.0.0.7:9090 --instance notifier=http://10.0.0.8:9090"
)
def rotate(  # noqa: PLR0913 - one argument for each option
    ring: OneRing,
    *,
    secrets: Folder = None,
    instance: Instances = None,
    active_in: Annotated[str, typer.Option(help="once known everywhere it is used after this time")] = "10m",
    within: Annotated[str, typer.Option(help="how long instances may take to read their file")] = "30s",
    again: Annotated[bool, typer.Option("--again", help="also if the last rotation was less than an hour ago")] = False,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Give a ring a new key, in three steps: into every file, known to every instance, active.

    Until every instance of every service that holds the ring says that it knows the key, it waits and is not used, for
    however long. Run again after an interruption it goes on with the same key; there is never a second one.

    Exit codes: 0 done or shown, 1 the key waits as an instance does not know it, or there is nothing to do, 2 files or
    PostgreSQL cannot be used.
    """
    found = ring_of(ring)
    order = _Order(
        files_of(secrets, found),
        instances_of(instance, found),
        duration(active_in, "--active-in"),
        duration(within, "--within"),
        again,
        reason_of(reason) if execute else None,
        who or journal.who(),
    )
    least = ACTIVE_IN_MIN.get(found.name)
    if least is not None and order.active_in < least:
        raise CommandFailedError(
            f"--active-in: at least {least.total_seconds() / 60:.0f}m, as readers keep the key set for so long"
        )
    with naming_files():
        order.files.holdings()  # a folder that is not right is told before anybody is asked
        plan, done = ask(dsn, lambda db: _carried_out(db, order))
    return _told(order, plan, done, as_json=as_json)


async def _carried_out(db: asyncpg.Connection, order: _Order) -> tuple[Rotation, Rotated | None]:
    """Return the plan, and what came of it if it was to be done."""
    files = order.files
    if order.why is None:
        return rotation(files.holdings(), await now_of(db), again=order.again), None
    with files.held():
        plan = rotation(files.holdings(), await now_of(db), again=order.again)
        if plan.recent:
            return plan, None
        key = files.draw() if plan.key_id is None else files.found(plan.key_id)
        planned = {
            "ring": files.ring.name,
            "key_id": key["key_id"],
            "missing": plan.missing,
            "unequal": plan.unequal,
        }
        async with recorded(db, files.ring.owner, "keys rotate", order.by, order.why, planned) as outcome:
            done = await changes.rotate(
                files,
                plan,
                key,
                order.instances,
                now=lambda: now_of(db),
                active_in=order.active_in,
                within=order.within,
            )
            outcome |= {"key_id": done.key_id, "begins": _written(done), "unknown_to": done.unknown_to}
    return plan, done


def _told(order: _Order, plan: Rotation, done: Rotated | None, *, as_json: bool) -> int:
    if as_json:
        told = {
            "ring": order.files.ring.name,
            "key_id": plan.key_id if done is None else done.key_id,
            "recent": plan.recent,
            "missing": plan.missing,
            "begins": (plan.begins.isoformat() if plan.begins else None) if done is None else _written(done),
            "unknown_to": () if done is None else done.unknown_to,
            "done": done is not None,
        }
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        lines = _plan_lines(order, plan) if done is None else _done_lines(order, done)
        sys.stdout.writelines(f"{line}\n" for line in lines)
    return 1 if plan.recent or (done is not None and done.unknown_to) else 0


def _plan_lines(order: _Order, plan: Rotation) -> list[str]:
    ring = order.files.ring
    if plan.recent:
        since = f"{plan.begins:%Y-%m-%d %H:%M:%S} UTC"
        return [f"{ring.name}: {plan.key_id} is active since {since}: nothing to do. Give --again for another one."]
    key = "a new key" if plan.key_id is None else f"the key {plan.key_id}, which a run before began to install,"
    into = ", ".join(f"{service}.json" for service in plan.missing)
    lines = [f"{key} goes into {into}; it is not used yet"] if plan.missing else []
    asked = ", ".join(str(instance) for instance in order.instances) or "none is named: give --instance for each"
    lines.append(f"each instance is asked whether it knows {plan.key_id or 'it'} ({asked})")
    if plan.begins is None:
        lines.append(f"once all do, it becomes active {_minutes(order.active_in)} later")
    else:
        lines.append(f"it becomes active at {plan.begins:%Y-%m-%d %H:%M:%S} UTC, in every file")
    numbered = [f"{number}. {line}" for number, line in enumerate(lines, start=1)]
    return [f"{ring.name}, in {order.files.folder}:", *numbered, "Nothing was done: add --reason and --execute."]


def _done_lines(order: _Order, done: Rotated) -> list[str]:
    ring = order.files.ring
    if done.begins is None:
        return [
            f"{ring.name}: {done.key_id} is in every file, and waits: it is not used.",
            *(f"  {why}" for why in done.unknown_to),
            "Bring the files to where the services read them, and run this again: it goes on with this key.",
        ]
    lines = [f"{ring.name}: {done.key_id} is in every file and becomes active at {done.begins:%Y-%m-%d %H:%M:%S} UTC."]
    if done.unknown_to:
        lines += [f"  {why}" for why in done.unknown_to]
        return [*lines, "Bring the files to where the services read them before that time, and run this again."]
    if ring.name == "numbers":
        lines.append("From then on: `python -m services.enrolment rekey` seals every number with it.")
    return [*lines, f"Every instance knows it. Then see `countersign keys list --ring {ring.name}` for the old ones."]


def _written(done: Rotated) -> str | None:
    return None if done.begins is None else done.begins.isoformat()


def _minutes(length: timedelta) -> str:
    minute = timedelta(minutes=1)
    return f"{length / minute:g} minutes" if length >= minute else f"{length.total_seconds():g} s"

"""`keys revoke`: an old key goes, once nothing needs it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from countersign.cli.database import ask, recorded
from countersign.cli.keys.options import Folder, OneRing, files_of, naming_files, ring_of
from countersign.cli.options import AsJson, Dsn, Execute, Reason, Who, reason_of
from countersign.cli.surroundings import CommandFailedError
from countersign.operations import journal
from countersign.operations.keys import changes
from countersign.operations.keys.plan import KeyCurrentError, revocation
from countersign.operations.keys.uses import now_of, uses_of

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from countersign.operations.keys.files import KeyFiles
    from countersign.operations.keys.plan import Revocation

app = typer.Typer()


@dataclass(frozen=True)
class _Order:
    """What was asked for; `why` None: only to be shown."""

    files: KeyFiles
    key_id: str
    forced: bool
    why: str | None
    by: str


@app.command(
    epilog="\b\ntry:\n  countersign keys revoke codes code-1f6a90b2\n"
    '  countersign keys revoke codes code-1f6a90b2 --reason "yearly" --execute\n'
    '  countersign keys revoke codes code-1f6a90b2 --force code-1f6a90b2 --reason "it leaked" --execute'
)
def revoke(  # noqa: PLR0913 - one argument for each option
    ring: OneRing,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="the old key: see `countersign keys list`")],
    *,
    secrets: Folder = None,
    force: Annotated[
        str | None,
        typer.Option(metavar="KEY_ID", help="the id once more: also if something needs it, which then fails"),
    ] = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Say what still needs an old key, and take it out of every file if nothing does.

    A key of grants is retired first: it signs nothing any more, and stays in the verifier's key set for what it signed.
    40 days later it can be taken out. The key in use is never taken out: rotate first.

    Exit codes: 0 done or shown, 1 something needs it, or no file has it, 2 files or PostgreSQL cannot be used.
    """
    if force is not None and force != key_id:
        raise CommandFailedError(
            f"--force {force}: type the id of the key, {key_id}, to say that what needs it may fail"
        )
    why = reason_of(reason) if execute else None
    order = _Order(files_of(secrets, ring_of(ring)), key_id, force is not None, why, who or journal.who())
    with naming_files():
        order.files.holdings()  # a folder that is not right is told before anybody is asked
        try:
            plan = ask(dsn, lambda db: _carried_out(db, order))
        except KeyCurrentError as error:
            raise CommandFailedError(str(error)) from None
    return _told(order, plan, as_json=as_json)


async def _carried_out(db: asyncpg.Connection, order: _Order) -> Revocation | None:
    """Return the plan; it is carried out if it was to be, and may be."""
    if order.why is None:
        return (await _planned(db, order))[0]
    with order.files.held():
        plan, now = await _planned(db, order)
        if plan is None or not plan.allowed:
            return plan
        ring = order.files.ring
        planned = {
            "ring": ring.name,
            "key_id": plan.key_id,
            "action": plan.action,
            "files": plan.services,
            "uses": [str(use) for use in plan.uses],
            "forced": order.forced,
        }
        async with recorded(db, ring.owner, "keys revoke", order.by, order.why, planned) as outcome:
            changes.revoke(order.files, plan, now)
            outcome[plan.action] = plan.key_id
    return plan


async def _planned(db: asyncpg.Connection, order: _Order) -> tuple[Revocation | None, datetime]:
    holdings, now = order.files.holdings(), await now_of(db)
    uses = await uses_of(db, holdings, order.key_id, now)
    return revocation(holdings, order.key_id, uses, now, forced=order.forced), now


def _told(order: _Order, plan: Revocation | None, *, as_json: bool) -> int:
    done = order.why is not None and plan is not None and plan.allowed
    if as_json:
        told = {
            "ring": order.files.ring.name,
            "key_id": order.key_id,
            "action": None if plan is None else plan.action,
            "files": () if plan is None else plan.services,
            "uses": [] if plan is None else [str(use) for use in plan.uses],
            "allowed": plan is not None and plan.allowed,
            "done": done,
        }
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(order, plan, done=done))
    return 0 if plan is not None and plan.allowed else 1


def _lines(order: _Order, plan: Revocation | None, *, done: bool) -> list[str]:
    ring = order.files.ring.name
    if plan is None:
        return [f"{ring}: no file has a key {order.key_id}, so there is nothing to do. See `countersign keys list`."]
    files = ", ".join(f"{service}.json" for service in plan.services)
    uses = [f"  {use}" for use in plan.uses]
    if not plan.allowed:
        return [
            f"{ring}: {plan.key_id} is still needed, so it stays:",
            *uses,
            f"Run this again later. If it leaked: --force {plan.key_id} takes it out all the same.",
        ]
    if done and plan.action == "retire":
        return [f"{ring}: {plan.key_id} is retired. Run this again 40 days from now to take it out of {files}."]
    if done:
        return [
            f"{ring}: {plan.key_id} is out of {files}. Bring the files to where the services read them.",
            *(["What needed it fails now:", *uses] if uses else []),
        ]
    deed = f"is retired in {files}" if plan.action == "retire" else f"goes out of {files}"
    about = "What it signed stays good" if plan.action == "retire" else "What needs it would fail"
    return [
        f"{ring}: {plan.key_id} {deed}.",
        *([f"{about}:", *uses] if uses else []),
        "Nothing was done: add --reason and --execute.",
    ]

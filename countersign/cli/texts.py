"""Stop texts at once, and let them go again: all, those to a country, or those of an account.

While they are stopped, a challenge that needs one is denied sms.suppressed, and what waits is ended without being sent;
nothing is sent late. A pause holds until it is ended, also over restarts. Changing commands only show what they would
do until --execute is given, which wants a --reason; who did it and why is kept.

Exit codes: 0 done or shown, 1 there is nothing to do or (status) something is stopped, 2 PostgreSQL does not answer.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from countersign.cli.database import ask
from countersign.cli.options import AsJson, Dsn, Execute, Reason, Who, reason_of
from countersign.cli.surroundings import CommandFailedError
from countersign.operations import journal
from countersign.operations.texts import Scope, Texts

if TYPE_CHECKING:
    import asyncpg

HELP = "stop texts at once, and let them go again"
app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)

_Country = Annotated[str | None, typer.Option(metavar="CC", help="only texts to numbers of this country")]
_Account = Annotated[UUID | None, typer.Option(metavar="UUID", help="only texts of this account")]


@app.command(
    epilog="\b\ntry:\n  countersign texts pause --country LV\n"
    '  countersign texts pause --country LV --reason "pumping, ticket 4711" --execute'
)
def pause(
    *,
    country: _Country = None,
    account: _Account = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """Stop texts: without --country and --account all of them.

    Exit codes: 0 done or shown, 1 they are stopped already, 2 PostgreSQL does not answer, or an argument is wrong.
    """
    scope, why = _scope(country, account), reason_of(reason) if execute else ""

    async def act(db: asyncpg.Connection) -> dict[str, Any]:
        texts = Texts(db)
        found = {"scope": str(scope), "paused": await texts.is_paused(scope), "waiting": await texts.waiting(scope)}
        done = execute and not found["paused"] and await texts.pause(scope, who or journal.who(), why)
        return {**found, "done": done}

    found = ask(dsn, act)
    words = f"{scope}: {found['waiting']} wait or are about to leave; they would be ended without being sent."
    if found["paused"]:
        words = f"{scope}: stopped already."
    elif found["done"]:
        words = f"{scope}: stopped. What waits is ended without being sent; challenges are denied sms.suppressed."
    return _told(found, words, as_json=as_json, execute=execute, nothing=found["paused"])


@app.command(epilog='\b\ntry:\n  countersign texts resume --country LV --reason "blocked at the carrier" --execute')
def resume(
    *,
    country: _Country = None,
    account: _Account = None,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """End a pause of just these; others hold on. See `countersign texts status`.

    Exit codes: 0 done or shown, 1 no pause is of just these, 2 PostgreSQL does not answer, or an argument is wrong.
    """
    scope, why = _scope(country, account), reason_of(reason) if execute else ""

    async def act(db: asyncpg.Connection) -> dict[str, Any]:
        texts = Texts(db)
        paused = await texts.is_paused(scope)
        done = execute and paused and await texts.resume(scope, who or journal.who(), why)
        return {"scope": str(scope), "paused": paused, "done": done}

    found = ask(dsn, act)
    words = f"{scope}: would leave again."
    if not found["paused"]:
        words = f"{scope}: no pause is of just these. See `countersign texts status`."
    elif found["done"]:
        words = f"{scope}: leave again, as far as no other pause holds them."
    return _told(found, words, as_json=as_json, execute=execute, nothing=not found["paused"])


@app.command(epilog="\b\ntry:\n  countersign texts status")
def status(as_json: AsJson = False, dsn: Dsn = None) -> int:
    """List what is stopped, since when, by whom and why.

    Exit codes: 0 nothing is, 1 something is, 2 PostgreSQL does not answer.
    """

    async def look(db: asyncpg.Connection) -> list[dict[str, Any]]:
        return [
            {
                "scope": str(one.scope),
                "country": one.scope.country,
                "account_id": one.scope.account_id,
                "since": one.since,
                "who": one.who,
                "reason": one.reason,
            }
            for one in await Texts(db).pauses()
        ]

    pauses = ask(dsn, look)
    for one in pauses:
        line = f"{one['scope']}: stopped since {one['since']:%Y-%m-%d %H:%M:%S} UTC by {one['who']}: {one['reason']}"
        sys.stdout.write((json.dumps(one, default=str) if as_json else line) + "\n")
    if not pauses:
        sys.stderr.write("No texts are stopped.\n")
    return 1 if pauses else 0


def _scope(country: str | None, account: UUID | None) -> Scope:
    try:
        return Scope(country, account)
    except ValueError as error:
        raise CommandFailedError(str(error)) from None


def _told(found: dict[str, Any], words: str, *, as_json: bool, execute: bool, nothing: bool) -> int:
    sys.stdout.write((json.dumps(found) if as_json else words) + "\n")
    if not (as_json or execute or nothing):
        sys.stdout.write("Nothing was done: add --reason and --execute.\n")
    return 1 if nothing else 0

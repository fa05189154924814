"""PostgreSQL: log-in, migrations, what waits to be published, dead letters, brakes, sessions, its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from countersign.clock import system_clock
from countersign.operations.doctor.clocks import judged_machine
from countersign.operations.letters import SERVICES, Choice, Letters
from countersign.runtime.checkup import Finding, fine, warning, wrong
from countersign.runtime.database.migrations_seen import migration_findings
from countersign.runtime.database.pool import require_writable
from countersign.runtime.database.postgres_refusal import (
    POSTGRES_FAILURES,
    plain_session,
    session_finding,
    words_of_postgres,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from countersign.operations.letters import Brake, Cause

OVERDUE_SECONDS_MAX = 60  # chosen: what a dead process left is taken by another within 15 s
_CAUSES_MAX = 1_000
OUTBOX = """
SELECT count(*) FILTER (WHERE parked_reason IS NULL AND leased_until < now()) AS waiting,
       extract(epoch FROM now() - min(leased_until) FILTER (WHERE parked_reason IS NULL))::float8 AS seconds,
       count(*) FILTER (WHERE parked_reason IS NOT NULL AND discarded_at IS NULL) AS parked
  FROM {schema}.outbox
"""
# A schema that is not there, or not as new as this program, is said with the migrations.
_SAID_ALREADY = (
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
)


async def database_findings(dsn: str) -> list[Finding]:
    """Look at PostgreSQL as the operator's role. What stops at the log-in is one error. Never raises on purpose."""
    try:
        async with plain_session(dsn) as db:
            found = [await _let_in(db), await _machine_clock(db)]
            for service in SERVICES:
                found += await migration_findings(db, service)
            found += await _work(db)
        found.append(await session_finding(dsn))
    except POSTGRES_FAILURES as error:
        told = "were not looked at, as PostgreSQL cannot be used"
        return [
            wrong("PostgreSQL", *words_of_postgres(error)),
            warning("migrations, outbox, dead letters, brakes", told, "mend that first, then run this again"),
        ]
    return found


async def _let_in(db: Any) -> Finding:
    await require_writable(db)
    return fine("PostgreSQL", f"lets us in as {await db.fetchval('SELECT current_user')}, and takes writes")


async def _machine_clock(db: Any) -> Finding:
    before = system_clock()
    theirs = await db.fetchval("SELECT clock_timestamp()")
    return judged_machine(before, theirs, system_clock())


async def _work(db: Any) -> list[Finding]:
    outbox: dict[str, dict[str, Any]] = {}
    causes: list[Cause] = []
    brakes: list[Brake] = []
    refused: list[Finding] = []
    for service in SERVICES:
        try:
            row = await db.fetchrow(OUTBOX.format(schema=service))
            letters = Letters(db, [service])
            causes += await letters.causes(Choice(state="new"), _CAUSES_MAX)
            brakes += await letters.held()
        except _SAID_ALREADY:
            continue
        except asyncpg.InsufficientPrivilegeError:
            told = f"{await db.fetchval('SELECT current_user')} may not look at its outbox, dead letters and brakes"
            refused.append(warning(service, told, "give --dsn of the role `operator`"))
            continue
        outbox[service] = dict(row)
    return [*refused, *judged_outboxes(outbox), *judged_letters(causes), *judged_brakes(brakes)]


def judged_outboxes(outboxes: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Return what waits too long to be published, by service; `waiting` and `parked` are rows, `seconds` an age."""
    found = []
    for service, outbox in outboxes.items():
        if outbox["waiting"] and (outbox["seconds"] or 0) > OVERDUE_SECONDS_MAX:
            told = f"{outbox['waiting']} records wait to be published, the oldest for {outbox['seconds']:.0f} s"
            todo = f"see whether {service} runs, and what its /readyz says of Kafka"
            found.append(wrong(f"outbox of {service}", told, todo))
        if outbox["parked"]:
            told = f"Kafka refused {outbox['parked']} records for good: they are parked"
            todo = f"countersign outbox ls --service {service}; mend that, then countersign outbox retry {service}"
            found.append(wrong(f"outbox of {service}", told, todo))
    return found or [fine("outbox", "nothing waits too long to be published")]


def judged_letters(causes: Sequence[Cause]) -> list[Finding]:
    """Return how many dead letters wait, by service, and what most of them are about."""
    found = []
    for service in sorted({cause.service for cause in causes}):
        own = [cause for cause in causes if cause.service == service]
        most = max(own, key=lambda cause: cause.letters)
        told = f"{sum(cause.letters for cause in own)} wait; most: {most.cause}"
        look = f"`countersign dlq groups --service {service} --state new`"
        todo = f"see {look}, mend the cause, then `countersign dlq redrive {service}`"
        found.append(warning(f"dead letters of {service}", told, todo))
    return found or [fine("dead letters", "none waits")]


def judged_brakes(brakes: Sequence[Brake]) -> list[Finding]:
    """Return each partition that stands still."""
    return [
        wrong(
            f"brake of {brake.service}",
            f"holds {brake.topic} partition {brake.partition} since {brake.since:%Y-%m-%d %H:%M} UTC: {brake.reason}",
            f"mend the bug, then `countersign dlq release {brake.service} {brake.topic}`",
        )
        for brake in brakes
    ] or [fine("brakes", "none holds a partition")]

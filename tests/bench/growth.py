"""What an event costs on top of a short and of a long history."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.bench.bare import PREFIX
from tests.bench.figures import Figure, cost
from tests.bench.meters import cpu_of_tree
from tests.bench.pace import counted, folded, logged, pace
from tests.bench.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bench.ground import Ground
    from tests.bench.pace import Pace
    from tests.bench.turns import Found

SHORT, LONG = 1_000, 5_000_000
GROWTH_MAX = 1.2
EVENTS, TEXTS = 15_000, 2_000
SERVICES = ("risk_evaluator", "verifier", "notifier")
OWN, SERVERS, WHOLE = "own", "PostgreSQL's", "both"
_WITHIN = 900.0

# $1 rows of history, spread over 40 days and over people who are not there any more.
_AT = "now() - make_interval(secs => g % 3456000)"
FILL = {
    "risk_evaluator.assessment": f"""
        INSERT INTO risk_evaluator.assessment (request_id, account_id, user_id, action, digest, place, place_known,
                                               outcome, reasons, policy_version, requested_at, assessed_at)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'login', repeat('x', 43), '10.0.0.1/32', true,
               'allow', ARRAY['ip.known'], 'bench', {_AT}, {_AT} FROM generate_series(1, $1::bigint) AS g ORDER BY 1""",
    "risk_evaluator.place": """
        INSERT INTO risk_evaluator.place (account_id, place, taught_by, first_used_at, last_used_at)
        SELECT gen_random_uuid(), '10.0.0.1/32', gen_random_uuid(), now(), now()
          FROM generate_series(1, $1::bigint) AS g ORDER BY 1""",
    "verifier.request": f"""
        INSERT INTO verifier.request (request_id, account_id, user_id, action, digest, place, taken_at)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'login', repeat('x', 43), '10.0.0.1/32', {_AT}
          FROM generate_series(1, $1::bigint) AS g ORDER BY 1""",
    "verifier.decision": f"""
        INSERT INTO verifier.decision (request_id, outcome, grant_jws, grant_expires_at, decided_at)
        SELECT request_id, 'granted', repeat('x', 100), now(), {_AT.replace("g %", "1 %")} FROM verifier.request
         ORDER BY 1 LIMIT $1::bigint""",
    "notifier.dispatch": f"""
        INSERT INTO notifier.dispatch (challenge_id, send, fingerprint, account_id, user_id, number_id, expires_at,
                                       state, claims, claimed_at, counted_at, number_fingerprint, country, segments,
                                       created_at, settled_at)
        SELECT gen_random_uuid(), 1, sha256(g::text::bytea), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),
               {_AT}, 'accepted', 1, {_AT}, {_AT}, sha256(g::text::bytea), 'SE', 1, {_AT}, {_AT}
          FROM generate_series(1, $1::bigint) AS g ORDER BY 1""",
}


# What is looked up while filling is nothing: each is built once its table is full.
_SECONDARY = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS made_by
  FROM pg_index WHERE indrelid = $1::regclass AND NOT indisunique
"""


async def growth(ground: Ground) -> list[Figure]:
    """Measure on a short and on a long history in turns, each in a database of its own on the same server."""
    async with _beside(ground) as other:
        grounds = {SHORT: ground, ground.scaled(LONG): other}
        for rows, where in grounds.items():
            await _fill(where, rows)
        await ground.db.execute("CHECKPOINT", timeout=_WITHIN)

        async def measure(turn: int, is_long: bool) -> Found:
            rows = max(grounds) if is_long else min(grounds)
            return await _measure(grounds[rows], f"{rows}-{turn}", bare=False)

        short, long = await in_turns(measure)
        bare = await _measure(ground, "bare", bare=True)
    figures = []
    for service in SERVICES:
        for whose, most in ((OWN, None), (SERVERS, None), (WHOLE, GROWTH_MAX)):
            name = f"{service}: {whose} CPU"
            figures += [
                cost("growth", f"{name} an event, long history", long[name], bare[name], "ms"),
                cost("growth", "  over a short history", long[name] / short[name], None, "times", most),
            ]
    return figures


@asynccontextmanager
async def _beside(ground: Ground) -> AsyncIterator[Ground]:
    """Lend the same ground with a database of its own. Nobody else may be connected to the first one just then."""
    parts = urlsplit(ground.servers.postgres_dsn)
    name = f"{parts.path[1:]}_beside"
    await ground.db.execute(f'CREATE DATABASE "{name}" TEMPLATE "{parts.path[1:]}"', timeout=_WITHIN)
    dsn = urlunsplit(parts._replace(path=f"/{name}"))
    db = await asyncpg.connect(dsn)
    try:
        yield replace(ground, servers=replace(ground.servers, postgres_dsn=dsn), db=db, _fleet=None)
    finally:
        await db.close()
        await ground.db.execute(f'DROP DATABASE "{name}" WITH (FORCE)', timeout=_WITHIN)


async def _fill(ground: Ground, rows: int) -> None:
    await ground.db.execute("TRUNCATE risk_evaluator.assessment, verifier.request, notifier.dispatch CASCADE")
    async with asyncio.TaskGroup() as group:
        for schema in SERVICES:
            group.create_task(_fill_schema(ground, schema, rows))
    await ground.db.execute("VACUUM ANALYZE", timeout=_WITHIN)


async def _fill_schema(ground: Ground, schema: str, rows: int) -> None:
    db = await asyncpg.connect(ground.servers.postgres_dsn)
    try:
        # No foreign key is looked at: the rows are made here.
        await db.execute("SET session_replication_role = replica; SET work_mem = '512MB'")
        await db.execute("SET maintenance_work_mem = '512MB'")
        for table, sql in FILL.items():
            if not table.startswith(schema):
                continue
            indexes = await db.fetch(_SECONDARY, table)
            for index in indexes:
                await db.execute(f"DROP INDEX {index['name']}")
            await db.execute(sql, rows, timeout=_WITHIN)
            for index in indexes:
                await db.execute(index["made_by"], timeout=_WITHIN)
    finally:
        await db.close()


async def _measure(ground: Ground, run: str, *, bare: bool) -> Found:
    """Return milliseconds of CPU an event of each service, and of PostgreSQL while it works for it."""
    found: Found = {}
    for service, topic in (("risk_evaluator", "access.requests.v1"), ("verifier", "access.assessments.v1")):
        took, servers = await _backlog(ground, service, topic, f"growth-{service}-{run}", bare=bare)
        found |= _found(service, took, servers)
    took, servers = await _texts(ground, f"growth-notifier-{run}", bare=bare)
    return found | _found("notifier", took, servers)


def _found(service: str, took: Pace, servers: float) -> Found:
    """Return milliseconds an event: the process's own, those of PostgreSQL meanwhile, and both together."""
    own, theirs = took.ms_each, servers / took.done * 1000
    return {f"{service}: {whose} CPU": ms for whose, ms in ((OWN, own), (SERVERS, theirs), (WHOLE, own + theirs))}


async def _backlog(ground: Ground, service: str, topic: str, run: str, *, bare: bool) -> tuple[Pace, float]:
    """Let a service drain logins from known places."""
    prefix, number = PREFIX if bare else "", ground.scaled(EVENTS, 2_000)
    await ground.to_end(f"{'bench' if bare else 'countersign'}.{service}", prefix)
    if service == "risk_evaluator":
        await ground.publish(run, number, prefix=prefix, known=True)
    else:
        before = await ground.ends.of(prefix + topic)
        async with ground.bare("risk_evaluator") if bare else ground.ours("risk_evaluator"):
            await ground.publish(run, number, prefix=prefix, known=True)
            await ground.ends.reach(prefix + topic, before + number, _WITHIN)
    lines = logged(ground, service, "folded")
    async with ground.bare(service, skip=False) if bare else ground.ours(service, skip=False) as there:
        pid = there[service].pid if bare else there.pid(service)
        used = cpu_of_tree(ground.postgres_pid)
        took = await pace(lines if bare else folded(ground, service, topic), pid, number, _WITHIN)
        return took, cpu_of_tree(ground.postgres_pid) - used


async def _texts(ground: Ground, run: str, *, bare: bool) -> tuple[Pace, float]:
    """Let the notifier send a backlog of texts."""
    prefix, number = PREFIX if bare else "", ground.scaled(TEXTS, 500)
    topic = f"{prefix}access.challenges.v1"
    await ground.to_end("bench.notifier" if bare else "countersign.notifier", prefix)
    before = await ground.ends.of(topic)
    first = ("verifier", "risk_evaluator")
    async with ground.bare(*first) if bare else ground.ours(*first):
        await ground.publish(run, number, prefix=prefix, first=5 << 20)
        await ground.ends.reach(topic, before + number, _WITHIN)
    provider = await ground.load("provider")
    try:
        lines = logged(ground, "notifier", "settled")
        async with ground.bare("notifier", skip=False) if bare else ground.ours("notifier", skip=False) as there:
            pid = there["notifier"].pid if bare else there.pid("notifier")
            settled = counted(ground, "notifier", "countersign_due_settled_total", due="texts")
            used = cpu_of_tree(ground.postgres_pid)
            took = await pace(lines if bare else settled, pid, number, _WITHIN)
            return took, cpu_of_tree(ground.postgres_pid) - used
    finally:
        await provider.end()

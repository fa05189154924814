"""What an event costs on top of a short and of a long history."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg

from tests.bench.bare import PREFIX
from tests.bench.figures import Figure, cost
from tests.bench.meters import cpu_of_tree
from tests.bench.pace import counted, folded, logged, pace

if TYPE_CHECKING:
    from tests.bench.ground import Ground
    from tests.bench.pace import Pace

SHORT, LONG = 1_000, 5_000_000
GROWTH_MAX = 1.2
EVENTS, TEXTS = 15_000, 2_000
SERVICES = ("risk_evaluator", "verifier", "notifier")
OWN, SERVERS, WHOLE = "own", "PostgreSQL's", "both"
_WITHIN = 600.0

# $1 rows of history, spread over 40 days and over people who are not there any more.
_AT = "now() - make_interval(secs => g % 3456000)"
FILL = {
    "risk_evaluator.assessment": f"""
        INSERT INTO risk_evaluator.assessment (request_id, account_id, user_id, action, digest, place, place_known,
                                               outcome, reasons, policy_version, requested_at, assessed_at)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'login', repeat('x', 43), '10.0.0.1/32', true,
               'allow', ARRAY['ip.known'], 'bench', {_AT}, {_AT} FROM generate_series(1, $1::bigint) AS g""",
    "risk_evaluator.place": """
        INSERT INTO risk_evaluator.place (account_id, place, taught_by, first_used_at, last_used_at)
        SELECT gen_random_uuid(), '10.0.0.1/32', gen_random_uuid(), now(), now()
          FROM generate_series(1, $1::bigint) AS g""",
    "verifier.request": f"""
        INSERT INTO verifier.request (request_id, account_id, user_id, action, digest, place, taken_at)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'login', repeat('x', 43), '10.0.0.1/32', {_AT}
          FROM generate_series(1, $1::bigint) AS g""",
    "verifier.decision": f"""
        INSERT INTO verifier.decision (request_id, outcome, grant_jws, grant_expires_at, decided_at)
        SELECT request_id, 'granted', repeat('x', 100), now(), {_AT.replace("g %", "1 %")} FROM verifier.request
         LIMIT $1::bigint""",
    "notifier.dispatch": f"""
        INSERT INTO notifier.dispatch (challenge_id, send, fingerprint, account_id, user_id, number_id, expires_at,
                                       state, claims, claimed_at, counted_at, number_fingerprint, country, segments,
                                       created_at, settled_at)
        SELECT gen_random_uuid(), 1, sha256(g::text::bytea), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),
               {_AT}, 'accepted', 1, {_AT}, {_AT}, sha256(g::text::bytea), 'SE', 1, {_AT}, {_AT}
          FROM generate_series(1, $1::bigint) AS g""",
}


async def growth(ground: Ground) -> list[Figure]:
    """Measure on a short history, fill it up, measure again."""
    found: list[dict[str, float]] = []
    for rows in (SHORT, ground.scaled(LONG)):
        await _fill(ground, rows)
        found.append(await _measure(ground, rows, bare=False))
    bare = await _measure(ground, 0, bare=True)
    figures = []
    for service in SERVICES:
        own, servers, whole = (f"{service}: {whose} CPU" for whose in (OWN, SERVERS, WHOLE))
        for found_in in (*found, bare):
            found_in[whole] = found_in[own] + found_in[servers]
        for name, most in ((own, None), (servers, None), (whole, GROWTH_MAX)):
            short, long = found[0][name], found[1][name]
            figures += [
                cost("growth", f"{name} an event, long history", long, bare[name], "ms"),
                cost("growth", "  over a short history", long / short, None, "times", most),
            ]
    return figures


async def _fill(ground: Ground, rows: int) -> None:
    await ground.db.execute("TRUNCATE risk_evaluator.assessment, verifier.request, notifier.dispatch CASCADE")
    async with asyncio.TaskGroup() as group:
        for schema in SERVICES:
            group.create_task(_fill_schema(ground, schema, rows))
    await ground.db.execute("VACUUM ANALYZE", timeout=900)


async def _fill_schema(ground: Ground, schema: str, rows: int) -> None:
    db = await asyncpg.connect(ground.servers.postgres_dsn)
    try:
        for table, sql in FILL.items():
            if table.startswith(schema):
                await db.execute(sql, rows, timeout=900)
    finally:
        await db.close()


async def _measure(ground: Ground, rows: int, *, bare: bool) -> dict[str, float]:
    """Return milliseconds of CPU an event of each service, and of PostgreSQL while it works for it."""
    found = {}
    for service, topic in (("risk_evaluator", "access.requests.v1"), ("verifier", "access.assessments.v1")):
        took, servers = await _backlog(ground, service, topic, f"growth-{service}-{rows}", bare=bare)
        found[f"{service}: {OWN} CPU"] = took.ms_each
        found[f"{service}: {SERVERS} CPU"] = servers / took.done * 1000
    took, servers = await _texts(ground, f"growth-notifier-{rows}", bare=bare)
    found[f"notifier: {OWN} CPU"] = took.ms_each
    found[f"notifier: {SERVERS} CPU"] = servers / took.done * 1000
    return found


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

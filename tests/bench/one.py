"""A hundred events a second: batches of one. What a stage costs then, and how long people wait."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.bench.bare import PREFIX
from tests.bench.figures import Figure, cost
from tests.bench.meters import span
from tests.bench.turns import in_turns

if TYPE_CHECKING:
    from tests.bench.ground import Ground
    from tests.bench.turns import Found

RATE = 100.0
SECONDS = 8  # and in turns
STAGE_MS_MAX = 1.5
KNOWN_P50_MS_MAX, KNOWN_P99_MS_MAX = 8.0, 40.0
TEXT_P50_MS_MAX = 20.0
_WARM = 100

# On one clock, the database's: the moment a challenge was decided, and the moment its accepted text was settled.
TEXT_TOOK = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d.settled_at - c.issued_at) AS middle,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY d.settled_at - c.issued_at) AS late, count(*) AS texts
  FROM {prefix}verifier.challenge c
  JOIN {prefix}notifier.dispatch d ON d.challenge_id = c.challenge_id AND d.state = 'accepted'
 WHERE c.issued_at > now() - make_interval(secs => $1)
"""


async def one(ground: Ground) -> list[Figure]:
    """Measure each stage alone, then requests to decisions, then challenges to texts."""
    number = ground.scaled(round(RATE * SECONDS), 300)
    evaluator = await in_turns(partial(_alone, ground, "risk_evaluator", number))
    decided = await in_turns(partial(_decided, ground, number))
    texts = await in_turns(partial(_texts, ground, number))
    stage = "own CPU an event at 100/s"
    return [
        cost("one", f"risk-evaluator: {stage}", evaluator[0]["cpu"], evaluator[1]["cpu"], "ms", STAGE_MS_MAX),
        cost("one", f"verifier: {stage}", decided[0]["cpu"], decided[1]["cpu"], "ms", STAGE_MS_MAX),
        cost("one", f"notifier: {stage}, its text sent", texts[0]["cpu"], texts[1]["cpu"], "ms", STAGE_MS_MAX),
        *_both("one", "request to decision, known place, 100/s", decided, KNOWN_P50_MS_MAX, KNOWN_P99_MS_MAX),
        *_both("one", "challenge decided to text accepted, 100/s", texts, TEXT_P50_MS_MAX, None),
    ]


def _both(row: str, what: str, found: tuple[Found, Found], p50: float, p99: float | None) -> list[Figure]:
    return [
        cost(row, f"{what}: p50", found[0]["p50_ms"], found[1]["p50_ms"], "ms", p50),
        cost(row, f"{what}: p99", found[0]["p99_ms"], found[1]["p99_ms"], "ms", p99),
    ]


async def _alone(ground: Ground, stage: str, number: int, turn: int, bare: bool) -> Found:
    """Return the CPU milliseconds of a stage for an event of 100 a second."""
    prefix = PREFIX if bare else ""
    running = ground.bare(stage) if bare else ground.ours(stage)
    async with running as there:
        pid = there[stage].pid if bare else there.pid(stage)
        run = f"one-{stage}-{bare}-{turn}"
        await ground.publish(f"{run}-warm", _WARM, prefix=prefix, known=True, rate=RATE)
        took = span(pid)
        await ground.publish(run, number, prefix=prefix, known=True, rate=RATE)
        return {"cpu": took.cpu / number * 1000}


async def _decided(ground: Ground, number: int, turn: int, bare: bool) -> Found:
    """Return the verifier's CPU for an event, and how long decisions took."""
    stages = ("verifier", "risk_evaluator")
    options: dict[str, Any] = {"prefix": PREFIX if bare else "", "known": True, "rate": RATE}
    running = ground.bare(*stages) if bare else ground.ours(*stages)
    async with running as there:
        pid = there["verifier"].pid if bare else there.pid("verifier")
        await (await ground.load("decisions", run=f"decided-warm-{bare}-{turn}", count=_WARM, **options)).result(60)
        load = await ground.load("decisions", run=f"decided-{bare}-{turn}", count=number, **options)
        took = span(pid)
        found = await load.result(60 + number / RATE)
        if found["failed"]:
            raise RuntimeError(f"{found['failed']} of {number} requests were not decided")
        return found | {"cpu": took.cpu / number * 1000}


async def _texts(ground: Ground, number: int, turn: int, bare: bool) -> Found:
    """Return the notifier's CPU for a text, and how long texts took from the decision to the provider's word."""
    stages = ("verifier", "risk_evaluator", "notifier")
    options: dict[str, Any] = {"prefix": PREFIX if bare else "", "rate": RATE}
    provider = await ground.load("provider")
    try:
        running = ground.bare(*stages) if bare else ground.ours(*stages)
        async with running as there:
            pid = there["notifier"].pid if bare else there.pid("notifier")
            await ground.publish(f"texts-warm-{bare}-{turn}", _WARM, first=(1 << 20) + turn * _WARM, **options)
            await asyncio.sleep(1)
            took = span(pid)
            await ground.publish(f"texts-{bare}-{turn}", number, first=(1 << 21) + turn * number, **options)
            sql = TEXT_TOOK.format(prefix="bench_" if bare else "")
            async with asyncio.timeout(60):
                while (row := await ground.db.fetchrow(sql, took.wall))["texts"] < number:
                    await asyncio.sleep(0.2)
            used = took.cpu
            middle, late = row["middle"].total_seconds() * 1000, row["late"].total_seconds() * 1000
            return {"cpu": used / number * 1000, "p50_ms": middle, "p99_ms": late}
    finally:
        await provider.end()

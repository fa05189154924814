"""A backlog drained and read again, and what that costs in statements and commits."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.bare import PREFIX
from tests.bench.figures import Figure, cost, rate
from tests.bench.meters import commits
from tests.bench.pace import Pace, folded, logged, pace
from tests.bench.turns import TURNS, in_turns

if TYPE_CHECKING:
    from tests.bench.ground import Ground
    from tests.bench.turns import Found

REQUESTS = "access.requests.v1"
REQUESTS_DRAINED = 60_000
EVENTS_A_COMMIT = 50
_WITHIN = 300.0


async def drain(ground: Ground) -> list[Figure]:
    """Drain, and read again from the start."""
    number = ground.scaled(REQUESTS_DRAINED // TURNS, 3_000)
    ours, bare = await in_turns(partial(_drained, ground, number))
    again, bare_again = await _ours_again(ground, number), await _bare_again(ground, number)
    ratio = ours["per_core"] / bare["per_core"]
    return [
        Figure(
            "drain",
            "risk-evaluator drains a backlog, per core of its own",
            ours["per_core"],
            bare["per_core"],
            "events/s",
            ">= 0.6 of the bare loop",
            ratio >= 0.6,
            ratio,
            {"events": number * TURNS},
        ),
        rate("drain", "  the same by the clock", ours["per_second"], bare["per_second"], "events/s"),
        rate("drain", "  events a commit, all commits counted", ours["a_commit"], None, "events", EVENTS_A_COMMIT),
        rate("reread", "reading again, per core of its own", again.per_core, bare_again.per_core, "events/s"),
        rate(
            "reread",
            "  over the first reading",
            again.per_core / ours["per_core"],
            bare_again.per_core / bare["per_core"],
            "times",
            2.0,
        ),
    ]


async def _drained(ground: Ground, number: int, turn: int, bare: bool) -> Found:
    took, committed = await (_bare if bare else _ours)(ground, f"drain-{turn}", number)
    return {"per_core": took.per_core, "per_second": took.per_second, "a_commit": took.done / committed}


async def _ours(ground: Ground, run: str, number: int) -> tuple[Pace, int]:
    await ground.to_end("countersign.risk_evaluator", "")
    await ground.publish(run, number, known=True)
    before = await commits(ground.db)
    async with ground.ours("risk_evaluator", skip=False) as fleet:
        progress = folded(ground, "risk_evaluator", REQUESTS)
        done = await pace(progress, fleet.pid("risk_evaluator"), number, _WITHIN)
        return done, await commits(ground.db) - before


async def _ours_again(ground: Ground, number: int) -> Pace:
    await ground.to_start("countersign.risk_evaluator", REQUESTS)
    total = await ground.ends.of(REQUESTS)
    async with ground.ours("risk_evaluator", skip=False) as fleet:
        return await pace(
            folded(ground, "risk_evaluator", REQUESTS), fleet.pid("risk_evaluator"), max(total, number), _WITHIN
        )


async def _bare(ground: Ground, run: str, number: int) -> tuple[Pace, int]:
    await ground.to_end("bench.risk_evaluator", PREFIX)
    await ground.publish(run, number, prefix=PREFIX, known=True)
    progress = logged(ground, "risk_evaluator", "folded")
    before = await commits(ground.db)
    async with ground.bare("risk_evaluator", skip=False) as running:
        done = await pace(progress, running["risk_evaluator"].pid, number, _WITHIN)
        return done, await commits(ground.db) - before


async def _bare_again(ground: Ground, number: int) -> Pace:
    await ground.to_start("bench.risk_evaluator", PREFIX + REQUESTS)
    total = await ground.ends.of(PREFIX + REQUESTS)
    progress = logged(ground, "risk_evaluator", "folded")
    async with ground.bare("risk_evaluator", skip=False) as running:
        return await pace(progress, running["risk_evaluator"].pid, max(total, number), _WITHIN)


async def statements(ground: Ground) -> list[Figure]:
    """Count the statements of batches of one and of hundreds."""
    figures = []
    for stage, topic in (("risk_evaluator", REQUESTS), ("verifier", "access.assessments.v1")):
        small = await _statements(ground, stage, topic, rate_=20.0, number=40)
        large = await _statements(ground, stage, topic, rate_=0.0, number=ground.scaled(6_000, 1_000))
        figures.append(
            cost("statements", f"{stage}: statements a batch of hundreds", max(large), None, "statements", max(small))
        )
    return figures


async def _statements(ground: Ground, stage: str, topic: str, *, rate_: float, number: int) -> list[int]:
    where = ground.folder / f"statements-{stage}.json"
    run = f"statements-{stage}-{rate_}"
    services = ("risk_evaluator",) if stage == "risk_evaluator" else ("risk_evaluator", "verifier")
    before = await ground.ends.of(topic)
    async with ground.ours(*services, instruments={stage: ["--statements", str(where)]}) as fleet:
        await ground.publish(run, number, known=True, rate=rate_)
        progress = folded(ground, stage, topic)
        await pace(progress, fleet.pid(stage), await ground.ends.of(topic) - before, 60)
    return [int(count) for count in json.loads(where.read_text())]

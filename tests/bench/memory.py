"""Resident memory early and late in a long run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.bare import PREFIX
from tests.bench.figures import Figure, cost
from tests.bench.meters import resident_mb
from tests.bench.pace import counted, folded, logged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.bench.ground import Ground

MB_MAX = 150.0
LEVEL_MAX = 1.1  # late over early: what is above is a leak, what is below is the allocator's
EVALUATED = (50_000, 500_000)
TEXTED = (5_000, 50_000)
_WITHIN = 900.0


async def memory(ground: Ground) -> list[Figure]:
    """Fold a long stream of requests, and send a long stream of texts."""
    early, late = (ground.scaled(number) for number in EVALUATED)
    evaluator, bare_evaluator = await _evaluator(ground, early, late), await _bare_evaluator(ground, early, late)
    early, late = (ground.scaled(number) for number in TEXTED)
    texting, bare_texting = (
        await _texting(ground, early, late, bare=False),
        await _texting(ground, early, late, bare=True),
    )
    figures = []
    for name, (first, last), (bare_first, bare_last) in (
        ("risk_evaluator", evaluator, bare_evaluator),
        *((name, texting[name], bare_texting[name]) for name in ("verifier", "notifier")),
    ):
        figures += [
            cost("memory", f"{name}: resident at the end", last, bare_last, "MB", MB_MAX),
            cost(
                "memory", "  the end over a tenth of the way", last / first, bare_last / bare_first, "times", LEVEL_MAX
            ),
        ]
    return figures


async def _evaluator(ground: Ground, early: int, late: int) -> tuple[float, float]:
    async with ground.ours("risk_evaluator") as fleet:
        pid, progress = fleet.pid("risk_evaluator"), folded(ground, "risk_evaluator", "access.requests.v1")
        await ground.publish("memory-early", early, known=True)
        await _reach(ground, progress, early)
        first = resident_mb(pid)
        await ground.publish("memory-late", late - early, known=True)
        await _reach(ground, progress, late)
        return first, resident_mb(pid)


async def _bare_evaluator(ground: Ground, early: int, late: int) -> tuple[float, float]:
    progress = logged(ground, "risk_evaluator", "folded")
    async with ground.bare("risk_evaluator") as running:
        pid = running["risk_evaluator"].pid
        await ground.publish("memory-early", early, prefix=PREFIX, known=True)
        await _reach(ground, progress, early)
        first = resident_mb(pid)
        await ground.publish("memory-late", late - early, prefix=PREFIX, known=True)
        await _reach(ground, progress, late)
        return first, resident_mb(pid)


async def _texting(ground: Ground, early: int, late: int, *, bare: bool) -> dict[str, tuple[float, float]]:
    """Challenge and text in portions, so that no request grows stale in the queue."""
    stages = ("verifier", "risk_evaluator", "notifier")
    portion = max(500, early // 4)
    provider = await ground.load("provider")
    try:
        lines = logged(ground, "notifier", "settled")
        async with ground.bare(*stages) if bare else ground.ours(*stages) as there:
            pids = {name: there[name].pid if bare else there.pid(name) for name in ("verifier", "notifier")}
            settled = lines if bare else counted(ground, "notifier", "countersign_due_settled_total", due="texts")
            done, first = 0, dict.fromkeys(pids, 0.0)
            while done < late:
                number = min(portion, late - done)
                options = {"prefix": PREFIX if bare else "", "first": (2 << 20) + (bare << 19) + done}
                await ground.publish(f"memory-texts-{bare}-{done}", number, **options)
                done += number
                await _reach(ground, settled, done)
                if done <= early:
                    first = {name: resident_mb(pid) for name, pid in pids.items()}
            return {name: (first[name], resident_mb(pid)) for name, pid in pids.items()}
    finally:
        await provider.end()


async def _reach(ground: Ground, progress: Callable[[], Awaitable[int]], number: int) -> None:
    await ground.until(progress, number, _WITHIN)

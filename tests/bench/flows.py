"""Whole log-ins from new computers, texts by the hundred, and answers over HTTP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tests.bench.bare import PREFIX
from tests.bench.crowd import put_challenges
from tests.bench.figures import Figure, cost, rate
from tests.bench.meters import span
from tests.bench.pace import counted, logged, pace
from tests.bench.turns import in_turns

if TYPE_CHECKING:
    from tests.bench.ground import Ground
    from tests.bench.turns import Found

STAGES = ("verifier", "risk_evaluator", "notifier")
OTHERS = ("enrolment", "exports", "gateway")
# Of each turn.
FLOWS, PARALLEL, FLOWS_A_CORE = 1_200, 64, 250.0
FEW_FLOWS, FEW_PARALLEL, FEW_FLOWS_A_CORE = 400, 8, 115.0
# What one flow may cost of our CPU, by process, in milliseconds, 8 at a time; together 8.7.
FEW_MS_MAX = {
    "verifier": 3.2,
    "risk_evaluator": 1.9,
    "notifier": 3.0,
    "enrolment": 0.25,
    "exports": 0.25,
    "gateway": 0.1,
}
ANSWERS, ANSWERS_PARALLEL, ANSWERS_A_CORE = 1_500, 32, 800.0
ANSWERS_RATE, ANSWERS_P99_MS_MAX = 100.0, 30.0
TEXTS, TEXTS_A_SECOND, PROVIDER_SECONDS = 1_500, 400.0, 0.1
_WARM = 200
_FIGURES = ("per_core", "per_second", "p50_ms")
_WITHIN = 400.0


async def flows(ground: Ground) -> list[Figure]:
    """Log in from new computers: request, text, answer, grant."""
    ours, bare = await in_turns(partial(_flows, ground))
    figures = []
    for name, least in (("saturated", FLOWS_A_CORE), (f"{FEW_PARALLEL} at a time", FEW_FLOWS_A_CORE)):
        mine, theirs = ({what: found[f"{name}: {what}"] for what in _FIGURES} for found in (ours, bare))
        what = f"whole log-ins, {name}, per core of all our processes"
        figures += [
            rate("flows", what, mine["per_core"], theirs["per_core"], "flows/s", least),
            rate("flows", "  the same by the clock", mine["per_second"], theirs["per_second"], "flows/s"),
            cost("flows", "  from request to grant: p50", mine["p50_ms"], theirs["p50_ms"], "ms"),
        ]
        figures += _by_process(name, ours, bare)
    return figures


def _by_process(name: str, ours: Found, bare: Found) -> list[Figure]:
    most = {} if name == "saturated" else FEW_MS_MAX
    return [
        cost(
            "flows",
            f"  CPU of a flow: {service}",
            ours[f"{name}: ms_{service}"],
            bare.get(f"{name}: ms_{service}"),
            "ms",
            most.get(service),
        )
        for service in (*STAGES, *OTHERS)
    ]


async def _flows(ground: Ground, turn: int, bare: bool) -> Found:
    services = STAGES if bare else (*STAGES, *OTHERS)
    found: Found = {}
    running = ground.bare(*services) if bare else ground.ours(*services)
    async with running as there:
        pids = {name: there[name].pid if bare else there.pid(name) for name in services}
        first = turn << 16 | (1 << 19 if bare else 0)
        for name, number, parallel in (
            ("warm", _WARM, PARALLEL),
            ("saturated", ground.scaled(FLOWS, 300), PARALLEL),
            (f"{FEW_PARALLEL} at a time", ground.scaled(FEW_FLOWS, 100), FEW_PARALLEL),
        ):
            options = {"run": f"flows-{name}-{bare}-{turn}", "count": number, "parallel": parallel, "first": first}
            load = await ground.load("flows", prefix=PREFIX if bare else "", **options)
            took = {service: span(pid) for service, pid in pids.items()}
            told = await load.result(_WITHIN)
            if told["failed"]:
                raise RuntimeError(f"{told['failed']} of {number} log-ins failed")
            cpu = sum(one.cpu for one in took.values())
            each = {f"ms_{service}": one.cpu / number * 1000 for service, one in took.items()}
            each |= {"per_core": number / cpu, "per_second": number / told["seconds"], "p50_ms": told["p50_ms"]}
            found |= {f"{name}: {what}": value for what, value in each.items()}
            first += number
    return found


async def texts(ground: Ground) -> list[Figure]:
    """Send a backlog of texts through a provider that takes its time."""
    number = ground.scaled(TEXTS, 500)
    ours, bare = await in_turns(partial(_texts, ground, number))
    what = f"texts of one notifier, provider taking {PROVIDER_SECONDS * 1000:.0f} ms"
    return [
        rate("texts", what, ours["per_second"], bare["per_second"], "texts/s", TEXTS_A_SECOND),
        rate("texts", "  per core of its own", ours["per_core"], bare["per_core"], "texts/s"),
    ]


async def _texts(ground: Ground, number: int, turn: int, bare: bool) -> Found:
    prefix = PREFIX if bare else ""
    topic = f"{prefix}access.challenges.v1"
    await ground.to_end("bench.notifier" if bare else "countersign.notifier", prefix)
    before = await ground.ends.of(topic)
    first = ("verifier", "risk_evaluator")
    async with ground.bare(*first) if bare else ground.ours(*first):
        await ground.publish(f"backlog-{bare}-{turn}", number, prefix=prefix, first=(3 << 20) + turn * number)
        await ground.ends.reach(topic, before + number, _WITHIN)
    provider = await ground.load("provider", sns_seconds=PROVIDER_SECONDS)
    try:
        progress = logged(ground, "notifier", "settled")
        running = ground.bare("notifier", skip=False) if bare else ground.ours("notifier", skip=False)
        async with running as there:
            pid = there["notifier"].pid if bare else there.pid("notifier")
            mine = counted(ground, "notifier", "countersign_due_settled_total", due="texts")
            took = await pace(progress if bare else mine, pid, number, _WITHIN)
            return {"per_second": took.per_second, "per_core": took.per_core}
    finally:
        await provider.end()


async def answers(ground: Ground) -> list[Figure]:
    """Answer challenges that lie ready, each with its right code."""
    ours, bare = await in_turns(partial(_answers, ground))
    return [
        rate("answers", "answers per core of the verifier", ours["per_core"], bare["per_core"], "/s", ANSWERS_A_CORE),
        rate("answers", "  the same by the clock", ours["per_second"], bare["per_second"], "answers/s"),
        cost("answers", "answers at 100/s: p50", ours["p50_ms"], bare["p50_ms"], "ms"),
        cost("answers", "answers at 100/s: p99", ours["p99_ms"], bare["p99_ms"], "ms", ANSWERS_P99_MS_MAX),
    ]


async def _answers(ground: Ground, turn: int, bare: bool) -> Found:
    schema = "bench_verifier" if bare else "verifier"
    many, few = ground.scaled(ANSWERS, 400), ground.scaled(round(ANSWERS_RATE * 8), 200)
    for run, number in (("warm", _WARM), ("many", many), ("few", few)):
        await put_challenges(ground.db, ground.servers, schema, f"{run}-{bare}-{turn}", ground.people, number)
    running = ground.bare("verifier") if bare else ground.ours("verifier")
    async with running as there:
        pid = there["verifier"].pid if bare else there.pid("verifier")
        found: dict[str, Any] = {}
        for run, number, options in (
            ("warm", _WARM, {"parallel": ANSWERS_PARALLEL}),
            ("many", many, {"parallel": ANSWERS_PARALLEL}),
            ("few", few, {"rate": ANSWERS_RATE}),
        ):
            load = await ground.load("answers", run=f"{run}-{bare}-{turn}", count=number, **options)
            took = span(pid)
            told = await load.result(_WITHIN)
            if told["failed"]:
                raise RuntimeError(f"{told['failed']} of {number} answers failed")
            found[run] = told | {"per_core": number / took.cpu, "per_second": number / told["seconds"]}
        speed = {name: found["many"][name] for name in ("per_core", "per_second")}
        return speed | {name: found["few"][name] for name in ("p50_ms", "p99_ms")}

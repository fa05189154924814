"""Rebuilds known places as the service's own program does, with a trap: `python -m tests.support.rebuilding POINT`."""

from __future__ import annotations

import asyncio
import signal
import sys

from countersign.runtime.database.postgres import open_pool
from services.risk_evaluator.rebuild.command import rebuild_places
from services.risk_evaluator.wiring import RiskEvaluatorSettings
from tests.support.crashing import Trap, die_with_parent


async def main(point: str) -> int:
    """Carry out the order on standard input until the trap."""
    settings = RiskEvaluatorSettings()  # type: ignore[call-arg] # from the environment
    pool = await open_pool(settings.postgres.dsn.get_secret_value(), "risk_evaluator")
    return await rebuild_places(pool, settings, Trap(point, 1, signal.SIGKILL))


if __name__ == "__main__":
    die_with_parent()
    sys.exit(asyncio.run(main(sys.argv[1])))

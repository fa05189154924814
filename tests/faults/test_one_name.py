"""Two real processes of one service that were given one instance name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.local.checkout import CHECKOUT
from tests.support.fleet import Fleet, Stop
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


async def test_both_processes_say_that_they_have_one_name(servers: Servers, tmp_path: Path) -> None:
    """They throw each other out of the group for ever; /readyz and the log of each say what to do."""
    fleet = Fleet(
        servers,
        tmp_path,
        "http://127.0.0.1:9",
        policy=CHECKOUT / "deploy" / "policy" / "local.yaml",
        settings={"risk_evaluator": {"INSTANCE": "same"}},
    )
    try:
        await fleet.start("verifier")  # the decisions of tests before this one are read with its keys
        await fleet.start("risk_evaluator", "0")
        await fleet.start("risk_evaluator", "1", stop=Stop("never"))

        async def both_say_so() -> bool:
            told = await fleet.readiness()
            return all(
                "COUNTERSIGN_INSTANCE" in told.get(f"risk_evaluator-{instance}", {}).get("kafka.instance", "")
                for instance in ("0", "1")
            )

        await eventually(both_say_so, within=60)
        for instance in ("0", "1"):
            assert "instance_name_taken" in fleet.log("risk_evaluator", instance)
    finally:
        await fleet.end_all()

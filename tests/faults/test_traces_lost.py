"""Collectors that hang, refuse or are not there: people log in as ever, and services end as ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from deploy.local.process import free_ports
from tests.support.collector import collecting
from tests.support.fleet import SERVICES
from tests.support.kafka import eventually
from tests.support.needles import Needles
from tests.support.stage import a_stage
from tests.support.watched import Watched

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stage import Stage

pytestmark = pytest.mark.servers

_DROPPED = 'countersign_spans_dropped_total{cause="not_taken"}'


@pytest.mark.timeout(300)
async def test_no_request_waits_for_a_collector(tmp_path: Path) -> None:
    """A log-in with a code; each service counts what it lost, says so in one line without a trace, and ends in time."""
    async with collecting() as silent, collecting() as refusing:
        silent.silent, refusing.status = True, 503
        nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
        urls = {"gateway": silent.url, "verifier": silent.url, "risk_evaluator": nowhere, "exports": nowhere}
        over = {name: {"TRACES__ENDPOINT": urls.get(name, refusing.url)} for name in SERVICES}
        async with a_stage(tmp_path, over=over) as stage:
            watched = Watched(stage, Needles())
            person = await watched.person("correct-horse-9W")
            async with watched.computer("10.61.0.1") as computer:
                page = await computer.give_password(person, "correct-horse-9W")
                page = await computer.type_code(page, await computer.read_text(person, 1))
                assert page.url.endswith("/"), page.url

            async def counted() -> bool:
                return await _services_that_lost(stage) >= {"gateway", "verifier", "risk_evaluator", "notifier"}

            await eventually(counted, within=60)
            assert await stage.fleet.readiness() == {f"{name}-0": {} for name in SERVICES}
            async with asyncio.timeout(30):
                await stage.fleet.end_all()
            for name, log in stage.fleet.logs().items():
                assert log.count('"spans_lost"') <= 1, name
                assert "Traceback" not in log, name
                assert '"event":"service_ended"' in log, name
                assert "opentelemetry" not in log, name
            assert stage.fleet.log("verifier").count('"spans_lost"') == 1
    assert silent.spans == refusing.spans == []


async def _services_that_lost(stage: Stage) -> set[str]:
    lines = {name: text.splitlines() for name, text in (await stage.fleet.metrics()).items()}
    return {
        name.removesuffix("-0")
        for name, told in lines.items()
        if any(line.startswith(_DROPPED) and float(line.rpartition(" ")[2]) > 0 for line in told)
    }

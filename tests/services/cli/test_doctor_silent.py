"""Servers that take connections and answer nothing: `countersign doctor` ends within seconds all the same."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from countersign import cli
from deploy.local.postgres import OPERATOR
from tests.support.breakable import breakable

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.servers


async def test_servers_that_are_stopped_where_they_are_hold_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are errors."""
    monkeypatch.setenv("DATA", str(tmp_path / "none"))
    async with breakable() as broken:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broken.servers.kafka)
        monkeypatch.setenv("OPERATOR_DSN", broken.servers.dsn_of(OPERATOR))
        for name in ("kafka", "postgres"):
            broken.pause(name)
        began = time.monotonic()
        code = await asyncio.to_thread(cli.main, ["doctor", "--json"])
        assert time.monotonic() - began < 20
    printed = capsys.readouterr()
    rows = {row["subject"]: row for row in map(json.loads, printed.out.splitlines())}
    assert (code, rows["Kafka"]["level"], rows["PostgreSQL"]["level"]) == (1, "error", "error")
    assert "does not answer: TimeoutError" in rows["PostgreSQL"]["sentence"]
    assert "Traceback" not in printed.out + printed.err

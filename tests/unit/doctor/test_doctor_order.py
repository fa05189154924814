"""`countersign doctor` looks at servers before six programs start and take every core: a good server seemed away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from countersign.cli import doctor, main
from countersign.operations.doctor.services import Told
from tests.support.every_command import closed_port, laid

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from countersign.runtime.checkup import Finding


def test_no_program_starts_while_servers_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, all six."""
    seen: list[str] = []

    async def examined(*_: Any) -> list[Finding]:
        seen.append("servers begin")
        await asyncio.sleep(0.2)  # long enough for a thread to start
        seen.append("servers end")
        return []

    def told(service: str) -> Told:
        seen.append("program")
        return Told(service, frozenset(), [])

    monkeypatch.setattr(doctor, "examined", examined)
    monkeypatch.setattr(doctor, "_told", told)
    for name, value in laid(tmp_path, closed_port()).environment().items():
        monkeypatch.setenv(name, value)
    assert main(["doctor"]) == 0
    assert seen == ["servers begin", "servers end", *["program"] * 6]

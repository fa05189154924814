"""What tests of the command line share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support.replay_desk import a_desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.replay_desk import Desk
    from tests.support.servers import Servers


@pytest.fixture(autouse=True)
def no_stack(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no address and no log-in from a stack that runs in this checkout."""
    monkeypatch.setenv("DATA", str(tmp_path_factory.getbasetemp() / "no-stack"))


@pytest_asyncio.fixture(loop_scope="session")
async def desk(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Desk]:
    """Sit at the command line, with no replay begun yet."""
    async with a_desk(servers, tmp_path, monkeypatch, capsys) as found:
        yield found

"""What tests of the command line share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.replay_desk import a_desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from tests.support.replay_desk import Desk
    from tests.support.servers import Servers


@pytest_asyncio.fixture(loop_scope="session")
async def desk(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Desk]:
    """Sit at the command line, with no replay begun yet."""
    async with a_desk(servers, tmp_path, monkeypatch, capsys) as found:
        yield found

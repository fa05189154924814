"""A local SNS: moto's server. It takes texts and shows them; none leaves the machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deploy.local.process import Program, answers

if TYPE_CHECKING:
    from pathlib import Path


def program(folder: Path, *, port: int) -> Program:
    """Return the local SNS on the loopback address. It keeps the texts in memory."""

    async def ready() -> bool:
        return await answers(port)

    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return Program(name="SNS", argv=argv, log=folder / "sns.log", ready=ready, stop_within=3)

"""A local SNS: moto's server. It takes texts and shows them; none leaves the machine."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import Request, urlopen

from deploy.local.process import Program, answers

if TYPE_CHECKING:
    from pathlib import Path


def program(folder: Path, *, port: int) -> Program:
    """Return the local SNS on the loopback address. It keeps the texts in memory."""

    async def ready() -> bool:
        return await answers(port) and await asyncio.to_thread(_knows_sns, port)

    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return Program(name="SNS", argv=argv, log=folder / "sns.log", ready=ready, stop_within=3)


def _knows_sns(port: int) -> bool:
    """Ask it something: moto loads a service with its first call, which would make the first text a second late."""
    scope = "Credential=local/20260101/eu-central-1/sns/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"}
    request = Request(f"http://127.0.0.1:{port}/", data=b"Action=ListTopics&Version=2010-03-31", headers=headers)
    try:
        with urlopen(request, timeout=20) as answer:  # noqa: S310 - ours
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own number
    except (URLError, OSError):
        return False

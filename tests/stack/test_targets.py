"""What the Makefile offers."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from deploy.local.checkout import CHECKOUT
from deploy.local.layout import SERVICES
from deploy.local.programs import limits

if TYPE_CHECKING:
    from tests.support.stack import RunningStack

_FIXED = {"help", "run", "demo", "test", "check", "schemas", "stack", "clean", "limits"}


def test_help_lists_each_target_with_a_sentence() -> None:
    """The targets that others build on are all there."""
    printed = subprocess.run(["make", "help"], check=True, capture_output=True, text=True, cwd=CHECKOUT).stdout
    told = {line.split()[1]: line.split(maxsplit=2)[2:] for line in printed.splitlines() if line.startswith("  make ")}
    assert set(told) >= _FIXED
    assert all(told.values())


async def test_every_service_tells_its_limits_with_their_sources(stack: RunningStack) -> None:
    """Of the configuration that runs: the local policy's are among them."""
    lines = await limits(stack.layout)
    assert {service for service, *_ in lines} == set(SERVICES)
    assert all(value and source for _, _, value, source in lines)
    assert ("policy.version", "local-2") in {(name, value) for _, name, value, _ in lines}
    assert ("notifier", "policy.texts.number_hourly_max", "1000") in {line[:3] for line in lines}
    assert ("verifier", "code.attempts_max", "5") in {line[:3] for line in lines}

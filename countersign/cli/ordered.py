"""A command of a service's own program: its order goes to standard input, its answers come back as JSON lines."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from countersign.cli.dlq.running import settings_of
from countersign.cli.surroundings import Failed

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOUND = (0, 1)  # done; a finding
_SECONDS_MAX = 24 * 3_600


def carried_out(service: str, command: str, order: Mapping[str, Any], answer: str) -> list[dict[str, Any]]:
    """Let a service's program carry out an order, with the service's settings; return what it answered under a name.

    Raises Failed with what the service said, also where it answered nothing.
    """
    argv = [sys.executable, "-m", f"services.{service}", command]
    done = subprocess.run(  # noqa: S603 - our own program; service and command are ours
        argv,
        check=False,
        capture_output=True,
        text=True,
        env=settings_of(service),
        input=json.dumps(order),
        timeout=_SECONDS_MAX,
    )
    prefix = f'{{"{answer}":'
    answers = [json.loads(line)[answer] for line in done.stdout.splitlines() if line.startswith(prefix)]
    if done.returncode not in _FOUND or not answers:
        raise Failed(_told(done.stderr, done.stdout) or f"{' '.join(argv[1:])} ended with {done.returncode}")
    return answers


def _told(stderr: str, stdout: str) -> str:
    """Return the last thing that a program said; of a stack trace that is the error."""
    lines = [line for line in (stderr or stdout).splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""

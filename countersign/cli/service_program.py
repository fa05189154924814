"""A service's own program, run for one command, with the settings that the service itself has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countersign.cli.surroundings import Failed
from countersign.operations.letters import SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FOUND = (0, 1)  # done; a finding
_SECONDS_MAX = 24 * 3_600


def program_of(service: str, *arguments: str) -> list[str]:
    """Return the command line of a service's program."""
    return [sys.executable, "-m", f"services.{service}", *arguments]


def answers_of(
    service: str,
    command: str,
    answer: str,
    order: Mapping[str, Any] | None = None,
    *,
    more: Sequence[str] = (),
    seconds: float = _SECONDS_MAX,
) -> list[dict[str, Any]]:
    """Let a service's program do a command; return what it answered under a name, a JSON object a line.

    The order goes to its standard input, `more` are arguments behind the command. Raises Failed with the last thing
    that the service said, or if it has not ended in time.
    """
    argv = program_of(service, command, *more)
    try:
        done = subprocess.run(  # noqa: S603 - our own program; service and command are ours
            argv,
            check=False,
            capture_output=True,
            text=True,
            env=settings_of(service),
            input=None if order is None else json.dumps(order),
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(argv[1:])} did not end within {seconds:.0f} s") from None
    if done.returncode not in _FOUND:
        raise Failed(last_line(done.stderr or done.stdout) or f"{' '.join(argv[1:])} ended with {done.returncode}")
    prefix = f'{{"{answer}":'
    return [json.loads(line)[answer] for line in done.stdout.splitlines() if line.startswith(prefix)]


def answer_of(service: str, command: str, answer: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Let a service's program do a command that has one answer. Raises Failed, also if there is none."""
    found = answers_of(service, command, answer, order)
    if len(found) != 1:
        raise Failed(f"{' '.join(program_of(service, command)[1:])} gave {len(found)} answers, and one was expected")
    return found[0]


def last_line(said: str) -> str:
    """Return the last thing that a program said; of a stack trace that is the error."""
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def settings_of(service: str) -> Mapping[str, str]:
    """Return the environment of a service: this process's, or what the local stack wrote down for it."""
    if "COUNTERSIGN_SECRETS_FILE" in os.environ:
        return os.environ
    file = _local_file(service)
    try:
        lines = file.read_text("utf-8").splitlines()
    except OSError:
        raise Failed(
            f"no settings of {service}: set COUNTERSIGN_SECRETS_FILE and the others as for the service, "
            "or start the local stack with `make run`"
        ) from None
    return {**os.environ, **{name: value for name, _, value in (line.partition("=") for line in lines)}}


def local_services() -> list[str]:
    """Return the services whose settings the local stack wrote down."""
    return [service for service in SERVICES if _local_file(service).exists()]


def _local_file(service: str) -> Path:
    return Path(os.environ.get("DATA", ".local")) / "env" / f"{service}.env"

"""A service's own program, run for one command, with the settings that the service itself has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countersign.cli.surroundings import CommandFailedError
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

    The order goes to its standard input, `more` are arguments behind the command. Raises CommandFailedError with the
    last thing that the service said, or if it has not ended in time.
    """
    argv = program_of(service, command, *more)
    code, out, err = _ran(argv, settings_of(service), None if order is None else json.dumps(order), seconds)
    # An exception that nobody caught ends Python with 1 too, and is no finding.
    if code not in _FOUND or (code and "Traceback (most recent call last)" in err):
        raise CommandFailedError(last_line(err or out) or f"{' '.join(argv[1:])} ended with {code}")
    prefix = f'{{"{answer}":'
    return [json.loads(line)[answer] for line in out.splitlines() if line.startswith(prefix)]


def _ran(argv: list[str], env: Mapping[str, str], order: str | None, seconds: float) -> tuple[int, str, str]:
    """Run a program to its end; end it if that takes too long, or if somebody presses Ctrl-C."""
    given = subprocess.DEVNULL if order is None else subprocess.PIPE
    with subprocess.Popen(  # noqa: S603 - our own program; service and command are ours
        argv, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as program:
        try:
            out, err = program.communicate(order, timeout=seconds)
        except subprocess.TimeoutExpired:
            program.kill()
            raise CommandFailedError(f"{' '.join(argv[1:])} did not end within {seconds:.0f} s") from None
        except KeyboardInterrupt:
            program.kill()
            program.wait()
            raise
    return program.returncode, out, err


def answer_of(service: str, command: str, answer: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Let a service's program do a command that has one answer. Raises CommandFailedError, also if there is none."""
    found = answers_of(service, command, answer, order)
    if len(found) != 1:
        raise CommandFailedError(
            f"{' '.join(program_of(service, command)[1:])} gave {len(found)} answers, and one was expected"
        )
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
        raise CommandFailedError(
            f"no settings of {service}: set COUNTERSIGN_SECRETS_FILE and the others as for the service, "
            "or start the local stack with `make run`"
        ) from None
    return {**os.environ, **{name: value for name, _, value in (line.partition("=") for line in lines)}}


def local_services() -> list[str]:
    """Return the services whose settings the local stack wrote down."""
    return [service for service in SERVICES if _local_file(service).exists()]


def _local_file(service: str) -> Path:
    return Path(os.environ.get("DATA", ".local")) / "env" / f"{service}.env"

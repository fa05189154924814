"""A service's own program at work for a replay: what it prints is passed on line by line."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from countersign.cli.service_program import last_line, program_of, settings_of
from countersign.cli.surroundings import CommandFailedError
from countersign.runtime.replay.program import DONE, NOT_DONE

if TYPE_CHECKING:
    from collections.abc import Callable

_OURS = ('{"replay":', '{"plan":')


def relay(service: str, arguments: list[str], said: Callable[[dict[str, Any]], None], stdin: str = "") -> int:
    """Run the service's program with its settings, pass on what it says, and return its exit status, DONE or NOT_DONE.

    Ctrl-C reaches the program as well: it pauses, and says so. Else raises CommandFailedError with its words.
    """
    argv = program_of(service, *arguments)
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(  # noqa: S603 - our own program; the name is one of our services
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=settings_of(service)
        ) as program:
            with suppress(BrokenPipeError):
                _stream(program.stdin).write(stdin)
                _stream(program.stdin).close()
            status, interrupted = _heard(program, said)
        errors.seek(0)
        words = last_line(errors.read())
    if interrupted and status not in {DONE, NOT_DONE}:
        raise KeyboardInterrupt
    if status not in {DONE, NOT_DONE}:
        raise CommandFailedError(words or f"{' '.join(argv[1:3])} ended with {status}")
    return status


def _heard(program: subprocess.Popen[str], said: Callable[[dict[str, Any]], None]) -> tuple[int, bool]:
    """Return the program's status when it has ended, and whether somebody pressed Ctrl-C."""
    interrupted = False
    while True:
        try:
            for line in _stream(program.stdout):
                if line.startswith(_OURS):
                    said(json.loads(line))
            return program.wait(), interrupted
        except KeyboardInterrupt:  # the program has it as well
            interrupted = True


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream

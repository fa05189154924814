"""A service's own program at work for a replay: what it prints is passed on line by line."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from countersign.cli.dlq.running import settings_of
from countersign.cli.surroundings import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

_OURS = ('{"replay":', '{"plan":')
_LINES_MAX = 3


def relay(service: str, arguments: list[str], said: Callable[[dict[str, Any]], None], stdin: str = "") -> int:
    """Run the service's program with its settings, pass on what it says, and return its exit status, 0 or 1.

    Ctrl-C reaches the program as well: it pauses, and says so. Raises Failed with its words for any other status.
    """
    argv = [sys.executable, "-m", f"services.{service}", *arguments]
    with tempfile.TemporaryFile("w+") as errors:
        program = subprocess.Popen(  # noqa: S603 - our own program; the name is one of our services
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=settings_of(service)
        )
        assert program.stdin is not None
        assert program.stdout is not None
        with suppress(BrokenPipeError):
            program.stdin.write(stdin)
            program.stdin.close()
        while True:
            try:
                for line in program.stdout:
                    if line.startswith(_OURS):
                        said(json.loads(line))
                status = program.wait()
                break
            except KeyboardInterrupt:
                continue
        errors.seek(0)
        words = " ".join(errors.read().strip().splitlines()[-_LINES_MAX:])
    if status not in {0, 1}:
        raise Failed(words or f"{' '.join(argv[1:3])} ended with {status}")
    return status

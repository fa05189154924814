"""A service's own program, run for one command, with the settings that the service itself has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countersign.cli.surroundings import Failed

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOUND = (0, 1)  # all pass; some fail
_SECONDS_MAX = 3_600


def checked_by(service: str) -> list[dict[str, Any]]:
    """Return what the service's code makes of its new dead letters. Raises Failed with what the service said."""
    argv = [sys.executable, "-m", f"services.{service}", "check-letters"]
    done = subprocess.run(  # noqa: S603 - our own program; the name is one of our services
        argv, check=False, capture_output=True, text=True, env=settings_of(service), timeout=_SECONDS_MAX
    )
    if done.returncode not in _FOUND:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise Failed(f"{' '.join(argv[1:])} ended with {done.returncode}: {' '.join(said)}")
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"letter":')]
    return [json.loads(line)["letter"] for line in lines]


def settings_of(service: str) -> Mapping[str, str]:
    """Return the environment of a service: this process's, or what the local stack wrote down for it."""
    if "COUNTERSIGN_SECRETS_FILE" in os.environ:
        return os.environ
    file = Path(os.environ.get("DATA", ".local")) / "env" / f"{service}.env"
    try:
        lines = file.read_text("utf-8").splitlines()
    except OSError:
        raise Failed(
            f"no settings of {service}: set COUNTERSIGN_SECRETS_FILE and the others as for the service, "
            "or start the local stack with `make run`"
        ) from None
    return {**os.environ, **{name: value for name, _, value in (line.partition("=") for line in lines)}}

"""Where things lie. Only the standard library: the bootstrap reads this before anything is installed."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_OPEN_HOME = Path("/var/lib/countersign")


def closed_above(path: Path) -> Path | None:
    """Return the first folder above `path` that other users may not walk through, such as root's home."""
    for folder in reversed(path.resolve().parents):
        if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def reachable(path: Path) -> Path:
    """Return where to put what PostgreSQL must reach.

    PostgreSQL refuses to run as root, so root starts it as another user. Below a closed folder that user cannot reach
    `path`, and opening somebody's home is not ours to do: the thing then lies under /var/lib/countersign.
    """
    if os.geteuid() != 0 or closed_above(path) is None:
        return path
    return _OPEN_HOME / hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12] / path.name


def virtual_environment() -> Path:
    """Return the folder of the checkout's own virtual environment."""
    return reachable(CHECKOUT / ".venv")

"""How commands print tables: as wide as the terminal, and in a pipe as wide as their content."""

from __future__ import annotations

import sys

from rich.console import Console

_PIPE_COLUMNS = 250  # wider than any table here, so that `| grep` finds whole words


def console() -> Console:
    """Return a console for standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)

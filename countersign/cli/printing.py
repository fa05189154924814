"""How commands print tables: as wide as the terminal, and in a pipe as wide as their content."""

from __future__ import annotations

import json
import shutil
import sys
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Longer than terminals are wide, so they stand below their row.
_BELOW = frozenset({"source", "cause", "reason", "parked_reason"})
_PIPE_COLUMNS = 250  # wider than any table here, so that `| grep` finds whole words


def console() -> Console:
    """Return a console for standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str], none: str, *, as_json: bool) -> int:
    """Print rows as a table or as JSON objects; return 0 if there is one, else 1 with `none` on standard error."""
    if as_json:
        sys.stdout.writelines(json.dumps(row, default=str) + "\n" for row in rows)
    elif rows:
        sys.stdout.writelines(f"{line}\n" for line in _lines(rows, columns))
    else:
        sys.stderr.write(f"{none}\n")
    return 0 if rows else 1


def _lines(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Iterable[str]:
    """Yield a table; below each row is its cause, or why it is held, as that is longer than terminals are wide."""
    short = [column for column in columns if column not in _BELOW]
    cells = [[column.removesuffix("_at") for column in short], *([_shown(row[one]) for one in short] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(short))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    yield lines[0]
    for line, row in zip(lines[1:], rows, strict=True):
        yield line
        for column in columns:
            if column in _BELOW:
                yield from _below(f"from {row[column]}" if column == "source" else _shown(row[column]))


def _below(text: str) -> list[str]:
    """Return a text below a row; on a terminal it goes on below itself."""
    if not sys.stdout.isatty():
        return [f"    {text}"]
    width = max(shutil.get_terminal_size().columns - 1, 20)
    return wrap(text, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:%Y-%m-%d %H:%M:%S}" if hasattr(value, "strftime") else str(value)

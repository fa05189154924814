"""A picture of what a command prints on a terminal: run for real on a pseudo-terminal, drawn by rich as SVG."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from io import StringIO
from typing import TYPE_CHECKING

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.terminal_theme import TerminalTheme

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.whole_stack import WholeStack

COLUMNS, ROWS = 100, 60
_FONTS = 'Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace'
# Without the fonts that rich would fetch from the network, and with ones that machines have.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", _FONTS
)
# Every colour has a contrast of 7 and more on the background (WCAG 2.2, 1.4.6).
_THEME = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [
        *((1, 4, 9), (255, 161, 152), (126, 231, 135), (242, 204, 96)),
        *((121, 192, 255), (210, 168, 255), (118, 227, 234), (230, 237, 243)),
    ],
)


class Terminal:
    """A terminal of the engineer on call beside a stack. `taken` are the names of its pictures."""

    def __init__(self, whole: WholeStack, folder: Path, scratch: Path) -> None:
        self.whole = whole
        self.taken: list[str] = []
        self._folder = folder
        self._scratch = scratch

    async def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run `countersign`, which has to end with one of `codes`, and return what it printed, with its colours."""
        printed, ended = await asyncio.to_thread(self._run, arguments)
        if ended not in codes:
            said = printed + (self._scratch / "stderr").read_text("utf-8")
            raise AssertionError(f"countersign {' '.join(arguments)} ended with {ended}, not {codes}: {said}")
        return printed

    async def take(self, name: str, *arguments: str, code: int = 0) -> None:
        """Run `countersign`, which has to end with `code`, and draw what it printed."""
        printed = await self.run(*arguments, codes=(code,))
        drawn = _drawn(name, f"countersign {' '.join(arguments)}", printed)
        (self._folder / f"{name}.svg").write_text(drawn, "utf-8")
        self.taken.append(name)

    def _run(self, arguments: tuple[str, ...]) -> tuple[str, int]:
        argv = [sys.executable, "-m", "countersign.cli", *arguments]
        theirs = ("COUNTERSIGN_", "KAFKA_", "POSTGRES_", "OPERATOR_", "COLUMNS", "LINES", "NO_COLOR")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
        environment = {**kept, "TERM": "xterm-256color", "DATA": str(self.whole.running.layout.data)}
        child, descriptor = pty.fork()
        if child == 0:
            os.chdir(self._scratch)
            os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)  # no progress bars
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.execve(sys.executable, argv, environment)
        printed = b""
        while chunk := _read(descriptor):
            printed += chunk
        os.close(descriptor)
        _, status = os.waitpid(child, 0)
        return printed.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(status)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # Linux says so at the end of a pseudo-terminal
        return b""


def _drawn(name: str, title: str, printed: str) -> str:
    """Return the SVG, without spaces at the ends of its lines, which a checkout does not want."""
    console = Console(record=True, width=COLUMNS, file=StringIO())
    for line in AnsiDecoder().decode(printed.rstrip()):
        console.print(line)
    console.print()  # the last line would lose what is below its letters
    drawn = console.export_svg(title=title, theme=_THEME, code_format=_FORMAT, unique_id=name)
    return "\n".join(line.rstrip() for line in drawn.strip().splitlines()) + "\n"

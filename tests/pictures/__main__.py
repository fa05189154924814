"""`make pictures`: every page and state, and what commands print, from a stack of its own, into docs/pictures."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.async_api import expect

from deploy.local.checkout import CHECKOUT
from tests.pictures.album import BYTES_MAX, Album
from tests.pictures.scenes import SCENES
from tests.pictures.terminal import Terminal
from tests.pictures.terminal_scenes import TERMINAL_SCENES
from tests.pictures.walk import Walk
from tests.support.chromium import started_chromium
from tests.support.stack import new_layout, starting_stack
from tests.support.whole_stack import WholeStack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.support.whole_stack import Household

FOLDER = CHECKOUT / "docs" / "pictures"
expect.set_options(timeout=20_000)


async def take(wanted: Sequence[str]) -> int:
    """Take the pictures of all scenes, or of those named; return 0 if they are small enough together."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not wanted:
        for old in (*FOLDER.glob("*.png"), *FOLDER.glob("*.svg")):
            old.unlink()
    with new_layout() as layout, starting_stack(layout) as stack:
        await stack.wait_up()
        whole = WholeStack(stack)
        pages = await _pages(whole, [scene for scene in SCENES if not wanted or scene.__name__ in wanted])
        screens = await _screens(whole, [one for one in TERMINAL_SCENES if not wanted or one.__name__ in wanted])
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(
        f"{pages} states of pages, {screens} of the terminal, {size / 1024:.0f} KiB in {FOLDER.relative_to(CHECKOUT)}"
    )
    if size > BYTES_MAX:
        print(f"more than {BYTES_MAX // 1024} KiB: take fewer", file=sys.stderr)
        return 1
    return 0


async def _pages(whole: WholeStack, scenes: Sequence[Callable[[Walk], Awaitable[None]]]) -> int:
    """Take pictures of pages; return how many states they show."""
    if not scenes:
        return 0
    async with started_chromium() as chromium:
        album = Album(FOLDER, await chromium.new_page())
        for scene in scenes:
            before = len(album.names)
            await scene(Walk(chromium, whole, album))
            print(f"{scene.__name__}: {', '.join(album.names[before:])}", flush=True)
    return len(album.names)


async def _screens(whole: WholeStack, scenes: Sequence[Callable[[Terminal, Household], Awaitable[None]]]) -> int:
    """Take pictures of the terminal; return how many."""
    if not scenes:
        return 0
    household = await whole.household(documented=True)
    with tempfile.TemporaryDirectory() as scratch:
        terminal = Terminal(whole, FOLDER, Path(scratch))
        for scene in scenes:
            before = len(terminal.taken)
            await scene(terminal, household)
            print(f"{scene.__name__}: {', '.join(terminal.taken[before:])}", flush=True)
    return len(terminal.taken)


if __name__ == "__main__":
    sys.exit(asyncio.run(take(sys.argv[1:])))

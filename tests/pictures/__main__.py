"""`make pictures`: every page and state as a person sees it, from a stack of its own, into docs/pictures."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from playwright.async_api import expect

from deploy.local.checkout import CHECKOUT
from tests.pictures.album import BYTES_MAX, Album
from tests.pictures.scenes import SCENES
from tests.pictures.walk import Walk
from tests.support.chromium import started_chromium
from tests.support.stack import new_layout, starting_stack
from tests.support.whole_stack import WholeStack

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = CHECKOUT / "docs" / "pictures"
expect.set_options(timeout=20_000)


async def take(wanted: Sequence[str]) -> int:
    """Take the pictures of all scenes, or of those named; return 0 if they are small enough together."""
    scenes = [scene for scene in SCENES if not wanted or scene.__name__ in wanted]
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not wanted:
        for old in FOLDER.glob("*.png"):
            old.unlink()
    with new_layout() as layout, starting_stack(layout) as stack:
        await stack.wait_up()
        async with started_chromium() as chromium:
            album = Album(FOLDER, await chromium.new_page())
            for scene in scenes:
                before = len(album.names)
                await scene(Walk(chromium, WholeStack(stack), album))
                print(f"{scene.__name__}: {', '.join(album.names[before:])}", flush=True)
    print(f"{len(album.names)} states, {album.size() / 1024:.0f} KiB in {FOLDER.relative_to(CHECKOUT)}")
    if album.size() > BYTES_MAX:
        print(f"more than {BYTES_MAX // 1024} KiB: take fewer", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(take(sys.argv[1:])))

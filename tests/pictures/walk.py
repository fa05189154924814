"""What a scene works with: a stack, a computer of its own, an album."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.browser.person import Computer
from tests.pictures.album import LOOKS
from tests.support.whole_stack import new_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from playwright.async_api import Browser

    from tests.pictures.album import Album
    from tests.support.whole_stack import WholeStack


@dataclass(frozen=True)
class Walk:
    """One way through the pages; pictures are taken where something new is seen."""

    chromium: Browser
    whole: WholeStack
    album: Album

    @asynccontextmanager
    async def computer(self, address: str | None = None) -> AsyncIterator[Computer]:
        """Sit down at a computer that no account knows, unless it has an address of before."""
        seen_as = address or new_address()
        context = await self.chromium.new_context(
            viewport={"width": 1100, "height": 640},
            extra_http_headers={"X-Forwarded-For": seen_as},
            locale="en-GB",
            timezone_id="Europe/London",
        )
        context.set_default_timeout(20_000)
        try:
            yield Computer(await context.new_page(), self.whole, seen_as)
        finally:
            await context.close()

    async def take(self, me: Computer, name: str, looks: Collection[str] = LOOKS, part: str | None = None) -> None:
        """Take a picture of what the computer shows, in all looks or in some, whole or a part."""
        await self.album.take(me.page, name, looks, part)

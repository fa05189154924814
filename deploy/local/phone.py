"""The texts that the local SNS took: what a phone would show."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import aiohttp

_CODE = re.compile(r"^@\S+ #(\d+)$", re.MULTILINE)  # the origin-bound last line of a text


@dataclass(frozen=True)
class Text:
    """A text on a phone."""

    number: str
    message: str

    @property
    def code(self) -> str:
        """Return the code of the text's last line. Raises ValueError if it has none."""
        found = _CODE.search(self.message)
        if found is None:
            raise ValueError("the text holds no line of the form `@host #code`")
        return found[1]


class Phone:
    """One number; it shows the texts with codes that came after it was picked up, and no notices."""

    def __init__(self, sns_url: str, number: str) -> None:
        self._url = f"{sns_url.rstrip('/')}/moto-api/data.json"
        self._number = number
        self._seen = 0

    async def pick_up(self) -> None:
        """Pass over the texts that lie there already."""
        self._seen = len(await self._texts())

    async def next_text(self, within: float = 20.0) -> Text:
        """Wait for the next text. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while len(texts := await self._texts()) <= self._seen:  # noqa: ASYNC110 - SNS sets no event
                await asyncio.sleep(0.02)
        self._seen += 1
        return texts[self._seen - 1]

    async def _texts(self) -> list[Text]:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
            http.get(self._url) as answer,
        ):
            sent = (await answer.json(content_type=None)).get("sns", {}).get("SMS", [])
        mine = (one["message"] for one in sent if one["phone_number"] == self._number)
        return [Text(self._number, message) for message in mine if _CODE.search(message)]

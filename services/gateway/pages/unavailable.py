"""The page that knows whether the service is back, for forms that could not be carried out."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from countersign.clock import loop_seconds
from services.gateway.guard import problem_page

if TYPE_CHECKING:
    from aiohttp import web

    from services.gateway.gate import Gate

LOOK_SECONDS_MAX = 1.2  # chosen: together with the wait before it somebody sees a page within 5 s
_LOOKED_GOOD_SECONDS = 1.0  # chosen: however many browsers wait, the services are asked once a second
_PAGE = re.compile(r"/(?:[a-z0-9-]+(?:/[a-z0-9-]+)*)?", re.ASCII)
_NOBODY = UUID(int=0)


class UnavailablePage:
    """GET /unavailable?to=<page>."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._asking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._back = False

    async def show(self, request: web.Request) -> web.Response:
        """Say that the service is not available, until it is; then lead on."""
        to = request.query.get("to", "")
        again = to if _PAGE.fullmatch(to) else self._gate.front
        if await self._is_back():
            return self._gate.pages.page(request, "problem.html", kind="back", again=again, state="back")
        return problem_page(self._gate, request, 503, "away", {"Retry-After": "2"})

    async def _is_back(self) -> bool:
        """Tell whether Kafka and every service that pages ask answer by now."""
        async with self._asking:
            if loop_seconds() - self._looked_at >= _LOOKED_GOOD_SECONDS:
                self._back = await self._all_answer()
                self._looked_at = loop_seconds()
            return self._back

    async def _all_answer(self) -> bool:
        gate = self._gate
        try:
            async with asyncio.timeout(LOOK_SECONDS_MAX):
                await asyncio.gather(
                    gate.requests.reach(),
                    gate.decisions.wait(uuid4(), 0),
                    gate.enrolment.account(_NOBODY),
                    gate.exports.lists(_NOBODY),
                )
        except OSError:  # away, all of them; a time-out is an OSError too
            return False
        return True

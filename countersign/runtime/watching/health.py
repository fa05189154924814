"""/livez, /readyz and /metrics, on a port of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from countersign.runtime.watching.metrics import Metrics


class Health:
    """What keeps the process from being ready, by name and in words. Alive is whoever answers."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {"start": "starting"}
        self._ending = ""

    def of(self, part: str) -> Health:
        """Return what tells of one part of the process: under the same names, with `part` at the end."""
        own = Health()
        own._reasons, own._ending = self._reasons, part
        return own

    def tell(self, name: str, reason: str | None) -> None:
        """Say why `name` keeps the process from being ready; None: it does not."""
        name += self._ending
        if reason is None:
            self._reasons.pop(name, None)
        else:
            self._reasons[name] = reason

    @property
    def reasons(self) -> dict[str, str]:
        """Return what is told now."""
        return dict(self._reasons)


def health_application(health: Health, metrics: Metrics) -> web.Application:
    """Return the application of the health port."""

    async def livez(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(_request: web.Request) -> web.Response:
        reasons = health.reasons
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def exposition(_request: web.Request) -> web.Response:
        metrics.ready.set(not health.reasons)
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", exposition)
    return app

"""What the pages of one site work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.gateway.model import Site

if TYPE_CHECKING:
    from collections.abc import Mapping

    import structlog
    from pydantic import HttpUrl

    from countersign.client import AccessRequests, Challenges, Decisions, Grants
    from countersign.runtime.database.postgres import Pool
    from countersign.runtime.watching.metrics import Metrics
    from services.gateway.browser_key import BrowserKey
    from services.gateway.console.calls import ManagerCalls
    from services.gateway.enrolment import Enrolment
    from services.gateway.passwords import Passwords
    from services.gateway.render import Pages
    from services.gateway.settings import GatewaySettings
    from services.gateway.upstream import Exports
    from services.gateway.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The parts that handlers use, made once in wiring; one for each site."""

    site: Site
    url: HttpUrl
    settings: GatewaySettings
    pool: Pool
    passwords: Passwords
    browser_key: BrowserKey
    requests: AccessRequests
    decisions: Decisions
    challenges: Challenges
    grants: Grants
    exports: Exports
    enrolment: Enrolment
    manager_calls: ManagerCalls
    pages: Pages
    languages: Mapping[str, Words]
    metrics: Metrics
    log: structlog.typing.FilteringBoundLogger

    @property
    def front(self) -> str:
        """The page that somebody lands on: signed in it greets, else it leads to the log-in."""
        return "/manager" if self.site is Site.CONSOLE else "/"

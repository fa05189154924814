"""What the pages of one site work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from countersign.client.requests import traceparent_of
from countersign.runtime.tracing.spans import SpanKind
from services.gateway.model import Site

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    import structlog
    from pydantic import HttpUrl

    from countersign.client import AccessRequests, Challenges, Decisions, Grants
    from countersign.runtime.database.postgres import Pool
    from countersign.runtime.tracing.tracer import Tracer, Work
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
    tracer: Tracer
    log: structlog.typing.FilteringBoundLogger

    @property
    def front(self) -> str:
        """The page that somebody lands on: signed in it greets, else it leads to the log-in."""
        return "/manager" if self.site is Site.CONSOLE else "/"

    def obeying(self, request_id: UUID) -> Work:
        """Begin the span of what is done here about a decision; a page that is loaded again has no second one."""
        return self.tracer.begin("obey decision", SpanKind.INTERNAL, traceparent_of(request_id), str(request_id))

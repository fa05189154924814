"""A request and its time line, as they are answered. No number, no masked one, no code and no grant is among them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from countersign.timeline.story import Ending


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class RequestSeen(_Part):
    """A request: what was asked for, when, by whom, and what became of it."""

    request_id: UUID
    user_id: UUID | None
    action: str
    at: AwareDatetime
    outcome: Ending


class StepSeen(_Part):
    """One thing that happened. `after_ms` is how long after the step before it; null for the first."""

    at: AwareDatetime
    after_ms: float | None
    service: str
    what: str
    detail: dict[str, Any]


class RequestsSeen(_Part):
    """The answer of GET /v1/manager/accounts/{id}/requests, the newest first."""

    requests: list[RequestSeen]


class TimelineSeen(_Part):
    """The answer of GET /v1/manager/accounts/{id}/requests/{request_id}."""

    request: RequestSeen
    steps: list[StepSeen]

"""What is asked of a shadow run, and what it answers: plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from countersign.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from countersign.contract import Outcome

HIDDEN = "•••"


class Order(BaseModel):
    """What is asked: requests appended from `since` until before `until`, or of the latest `last`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Policy
    last: timedelta | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    examples: Annotated[int, Field(ge=0, le=100)] = 3


@dataclass(frozen=True, slots=True)
class Window:
    """The requests that are re-decided, by append time. `log_begins`: what was appended before may be deleted."""

    since: datetime
    until: datetime
    log_begins: datetime


@dataclass(slots=True)
class Tally:
    """What a run came to.

    `changes` counts action, old and new outcome. `examples` are a few of each pair of outcomes that differ.
    """

    changes: Counter[tuple[str, Outcome, Outcome]] = field(default_factory=Counter)
    reasons_alone: int = 0
    examples: dict[tuple[Outcome, Outcome], list[Mapping[str, Any]]] = field(default_factory=dict)
    policies: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    known_from_before: int = 0
    undetermined: int = 0
    numbers_assumed: int = 0
    disputed: int = 0
    unjudged: int = 0
    grants_without_request: int = 0

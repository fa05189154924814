"""What is asked of a rebuild, and what it found: plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from countersign.policy import PlaceRules

_NEVER = timedelta(0)


class Order(BaseModel):
    """What is asked. `older` is what becomes of live rows that are older than the topics, where these are too short."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    execute: bool = False
    who: str = ""
    reason: str = ""
    older: Literal["keep", "drop"] | None = None
    examples: int = 3

    @model_validator(mode="after")
    def _says_why(self) -> Order:
        if self.execute and not (self.who.strip() and self.reason.strip()):
            raise ValueError("execute: wants who and reason")
        return self


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back the decisions go. `since` None: nothing was ever deleted. `counts_for` 0: places count for ever."""

    since: datetime | None
    counts_for: timedelta

    def is_enough(self, now: datetime) -> bool:
        """Return True if every place that still counts was used since the topic begins."""
        return self.since is None or (self.counts_for > _NEVER and self.since <= now - self.counts_for)


def counts_for(rules: PlaceRules) -> timedelta:
    """Return for how long a place counts at most after its last use; 0: for ever."""
    ends = [one for one in (rules.forget_after, rules.life_max) if one > _NEVER]
    return min(ends, default=_NEVER)


@dataclass(frozen=True, slots=True)
class Side:
    """Rows of a table that the topics can tell of, and the checksum of these, whatever their order."""

    rows: int
    checksum: str


@dataclass(slots=True)
class Comparison:
    """The live rows against those made anew.

    missing: only made anew. extra: only live. different: other times of use. older: only live, last used before the
    topics begin, so that these cannot tell.
    """

    live: Side
    rebuilt: Side
    verdicts: Counter[str] = field(default_factory=Counter)
    examples: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Return True if nothing that the topics can tell of differs."""
        return self.live == self.rebuilt and not self.differing

    @property
    def differing(self) -> int:
        """Return how many rows differ."""
        return self.verdicts["missing"] + self.verdicts["extra"] + self.verdicts["different"]

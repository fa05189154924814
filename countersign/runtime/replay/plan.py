"""A plan: which records, what folding them again would do, and a hash that says that nobody changed it since. Pure."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Self

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from countersign.runtime.messages.findings import counted, findings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# Chosen: long enough to be looked at by a second person; later the tables and the topic are no longer what it saw.
PLAN_GOOD_FOR = timedelta(hours=24)
# Chosen: what the newest records may be older than their append time by, when they are chosen by their own time.
CLOCKS_APART_MAX = timedelta(minutes=10)
RATE_DEFAULT = 200.0  # chosen: records a second, a small part of what a service folds, so that live traffic is not felt

By = Literal["event-time", "log-time"]


class PlanError(Exception):
    """A plan that is not run, in a sentence that says why and what to do."""


class Part(BaseModel):
    """A frozen part of a plan; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(Part):
    """Which records of a topic, and which service is to fold them again. None: no limit, any key, any type."""

    service: str
    topic: str
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    by: By = "log-time"
    key: str | None = None
    type: str | None = None


class Range(Part):
    """Offsets of a partition, `end` not included, and how many records of it were chosen."""

    partition: int
    first: int
    end: int
    records: int = 0


class Found(Part):
    """What folding the chosen records came to, before it was rolled back. `effects` leaves out the forbidden ones.

    `changes` are rows by table, `publishes` events by type. `unfoldable` are records that are no dead letters yet and
    could not be folded, by cause.
    """

    read: int = 0
    chosen: int = 0
    by_type: dict[str, int] = {}
    unused: int = 0
    aged: int = 0
    stale: int = 0
    without_effect: int = 0
    dead_letters: int = 0
    unfoldable: dict[str, int] = {}
    effects: dict[str, int] = {}
    forbidden: dict[str, int] = {}
    changes: dict[str, int] = {}
    publishes: dict[str, int] = {}

    def allowance(self) -> dict[str, int]:
        """Return what a run may do at most, by name."""
        return {
            **_named("effect", self.effects),
            **_named("row of", self.changes),
            **_named("event", self.publishes),
            **_named("unfoldable", {"record": sum(self.unfoldable.values())}),
        }


class Plan(Part):
    """What a run does, and all that it does. `code` and `limits` are hashes of the program and its configuration."""

    kind: Literal["countersign.replay.plan.v1"] = "countersign.replay.plan.v1"
    asked: Asked
    made_at: AwareDatetime
    made_by: str
    code: str
    limits: str
    ranges: list[Range]
    found: Found
    hash: str = Field("", description="SHA-256 of all the rest, canonical")

    def sealed(self) -> Self:
        """Return the plan with its hash."""
        return self.model_copy(update={"hash": self.hashed()})

    def hashed(self) -> str:
        """Return the hash that the plan must have."""
        content = self.model_dump(mode="json", exclude={"hash"})
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @classmethod
    def parsed(cls, text: str | bytes) -> Self:
        """Return the plan that a file holds. Raises PlanError if it is none, or was changed since it was made."""
        try:
            plan = cls.model_validate_json(text)
        except ValidationError as error:
            raise PlanError(f"this is no plan of a replay: {'; '.join(findings(error))}") from None
        if plan.hash != plan.hashed():
            raise PlanError("the plan was changed after it was made: its hash does not fit. Make a new one")
        return plan

    def require_harmless(self) -> None:
        """Raise PlanError if folding these records would do what a replay never does."""
        if self.found.forbidden:
            what = listed(self.found.forbidden)
            raise PlanError(
                f"these records would lead to {what}, which a replay never causes: leave them to the service, "
                "or narrow the plan (--until, --key, --type)"
            )

    def require_fresh(self, now: datetime) -> None:
        """Raise PlanError if the plan is too old: tables and topic are no longer what it saw."""
        if now - self.made_at > PLAN_GOOD_FOR:
            hours = PLAN_GOOD_FOR.total_seconds() / 3600
            raise PlanError(f"the plan of {self.made_at:%Y-%m-%d %H:%M} UTC is older than {hours:g} h: make a new one")

    def require_current(self, code: str, limits: str) -> None:
        """Raise PlanError if the plan was made by other code, or under another configuration."""
        if self.code != code:
            raise PlanError("the plan was made by another version of the code: make a new one")
        if self.limits != limits:
            raise PlanError("the plan was made under another configuration or policy: make a new one")


def exceeded(done: Mapping[str, int], allowed: Mapping[str, int]) -> str | None:
    """Return what was done more often than allowed, in words; None if nothing was."""
    for name, count in done.items():
        if count > allowed.get(name, 0):
            planned = allowed.get(name, 0)
            return f"{name}: {planned} planned, this would be number {planned + 1}"
    return None


def listed(counts: Mapping[str, int]) -> str:
    """Return counts in words."""
    return ", ".join(f"{count} x {name}" for name, count in counts.items()) or "nothing"


def told_records(count: int) -> str:
    """Return the number of records in words."""
    return counted(count, "record")


def _named(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {f"{prefix} {name}": count for name, count in counts.items()}

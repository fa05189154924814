"""The steps of a request over all services, and what became of it: plain values, no words for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from uuid import UUID

# The steps that begin the story of a request; one service or another has one, however far the request came.
BEGINNINGS = ("requested", "taken", "export.asked", "setting.asked")

# unread: assessed, and the verifier has not read it; undecided: the verifier has, and has not decided it.
EndingKind = Literal["unknown", "unassessed", "unread", "undecided", "waiting", "granted", "denied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened, as a service published it."""

    service: str
    at: datetime
    what: str
    detail: Mapping[str, Any]
    request_id: UUID | None
    challenge_id: UUID | None
    account_id: UUID
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class Story:
    """What happened to one request, oldest first."""

    steps: tuple[Step, ...] = field(default=())

    def last(self, what: str) -> Step | None:
        """Return the last step of that name."""
        return next((step for step in reversed(self.steps) if step.what == what), None)

    @property
    def beginning(self) -> Step | None:
        """The first step that says what was asked for; None if no service knows that."""
        return next((step for step in self.steps if step.what in BEGINNINGS), None)

    @property
    def action(self) -> str | None:
        """What was asked for; exports itself says no action, as it asks for one alone."""
        steps = (step for step in self.steps if step.what in BEGINNINGS)
        return next(("export" if one.what == "export.asked" else str(one.detail["action"]) for one in steps), None)

    def gaps(self) -> list[timedelta | None]:
        """Return for each step how long after the one before it happened; None for the first."""
        return [None, *(later.at - step.at for step, later in zip(self.steps, self.steps[1:], strict=False))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of a request.

    `reason`: why it was denied, or why it was granted without a code. `attempt`: which try was right. `text_state` and
    `text_reason` are of the newest text. `seconds`: from that text to the grant; or how long nothing has happened.
    """

    kind: EndingKind
    reason: str | None = None
    with_code: bool = False
    attempt: int | None = None
    tries_left: int | None = None
    until: datetime | None = None
    retry_at: datetime | None = None
    text_state: str | None = None
    text_reason: str | None = None
    seconds: float | None = None


# The reasons that let somebody in without a code.
WITHOUT_CODE = ("ip.known", "two_factor.off")


def ending_of(story: Story, now: datetime) -> Ending:
    """Return what became of the request, as far as its story goes at `now`."""
    if not story.steps:
        return Ending(kind="unknown")
    issued = story.last("text.issued")
    text: dict[str, Any] = {}
    if issued is not None:
        text = {"text_state": issued.detail.get("state"), "text_reason": issued.detail.get("reason")}
    if (denied := story.last("denied")) is not None:
        return Ending(
            kind="denied",
            reason=str(denied.detail.get("reason")),
            retry_at=_time(denied.detail.get("retry_at")),
            **text,
        )
    if (granted := story.last("granted")) is not None:
        return _granted(story, granted, text)
    if (challenged := story.last("challenged")) is not None:
        left = int(challenged.detail["attempts_max"]) - int(challenged.detail["attempts"])
        return Ending(kind="waiting", tries_left=left, until=_time(challenged.detail["expires_at"]), **text)
    idle = (now - story.steps[-1].at).total_seconds()
    if story.last("taken") is not None:
        return Ending(kind="undecided", seconds=idle)
    return Ending(kind="unassessed" if story.last("assessed") is None else "unread", seconds=idle)


def _granted(story: Story, granted: Step, text: Mapping[str, Any]) -> Ending:
    if not granted.detail.get("with_code"):
        assessed = story.last("assessed")
        reasons = () if assessed is None else assessed.detail.get("reasons", ())
        return Ending(kind="granted", reason=next((str(one) for one in reasons if one in WITHOUT_CODE), None))
    issued = story.last("text.issued")
    return Ending(
        kind="granted",
        with_code=True,
        attempt=max(1, sum(step.what == "answered" for step in story.steps)),
        seconds=None if issued is None else (granted.at - issued.at).total_seconds(),
        **text,
    )


def _time(text: str | None) -> datetime | None:
    """Return a time of a step's detail, which PostgreSQL writes in ISO 8601."""
    return None if text is None else datetime.fromisoformat(text)

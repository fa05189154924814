"""What an account manager may see of a story, pure: whose it is, and which details of each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.timeline.story import Story, ending_of
from services.enrolment.requests_seen.model import RequestSeen, StepSeen, TimelineSeen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from countersign.timeline.story import Step

# What is not named here is left out: the masked number, its country, the provider's id of a text, ids of members.
_SHOWN: Mapping[str, tuple[str, ...]] = {
    "requested": ("action",),
    "assessed": ("outcome", "reasons", "place", "place_known", "policy_version"),
    "taken": ("action",),
    "challenged": ("reasons", "expires_at", "attempts_max"),
    "text.issued": ("send", "state", "reason"),
    "text.due": ("send", "due_at", "reason"),
    "text.claimed": ("send", "claims"),
    "text.accepted": ("send",),
    "text.refused": ("send", "reason"),
    "text.suppressed": ("send", "reason", "retry_at"),
    "text.unknown": ("send", "reason"),
    "answered": ("accepted", "tries_left"),
    "granted": ("with_code",),
    "denied": ("reason", "retry_at", "with_code"),
    "export.asked": ("rows", "format", "state", "reason"),
    "setting.asked": ("action",),
    "setting.granted": ("action",),
    "setting.denied": ("action",),
    "manager.done": ("act", "ticket"),
    "manager.recorded": ("act", "ticket"),
    "manager.carried_out": ("act", "ticket"),
}


def own_story(story: Story, account_id: UUID) -> Story | None:
    """Return the steps of a request that the account made; None if it made no such request.

    An account manager's act is a request of the staff account, and its last step names the account that was acted on:
    that step belongs to the request, and does not make it a request of the other account.
    """
    own = Story(tuple(step for step in story.steps if step.account_id == account_id))
    if own.beginning is None:
        return None
    if own.action != "manager_act":
        return own
    return Story(tuple(one for one in story.steps if one.account_id == account_id or one.what.startswith("manager.")))


def request_seen(request_id: UUID, story: Story, account_id: UUID, now: datetime) -> RequestSeen | None:
    """Return the request with what became of it; None if the account made no such request."""
    own = own_story(story, account_id)
    if own is None or own.beginning is None or own.action is None:
        return None
    began = own.beginning
    return RequestSeen(
        request_id=request_id,
        user_id=began.user_id,
        action=own.action,
        at=began.at,
        outcome=ending_of(own, now),
    )


def timeline_seen(request_id: UUID, story: Story, account_id: UUID, now: datetime) -> TimelineSeen | None:
    """Return the request with its time line; None if the account made no such request."""
    own, request = own_story(story, account_id), request_seen(request_id, story, account_id, now)
    if own is None or request is None:
        return None
    gaps = (None if gap is None else gap.total_seconds() * 1000 for gap in own.gaps())
    steps = [_step_seen(step, gap) for step, gap in zip(own.steps, gaps, strict=True)]
    return TimelineSeen(request=request, steps=steps)


def _step_seen(step: Step, after_ms: float | None) -> StepSeen:
    names = _SHOWN.get(step.what, ())
    return StepSeen(
        at=step.at,
        after_ms=after_ms,
        service=step.service,
        what=step.what,
        detail={name: step.detail[name] for name in names if step.detail.get(name) is not None},
    )

"""What became of a request, in a sentence that needs no knowledge of the code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import uuid4

import pytest

from countersign.contract.values import DenialReason
from countersign.operations.trace import outcome_of
from countersign.timeline.story import Step, Story

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
CHALLENGED = (
    "challenged",
    {"number": "+61 ••••••••06", "expires_at": "2026-07-01T12:05:00.5+00:00", "attempts": 1, "attempts_max": 5},
)
ISSUED = ("text.issued", {"state": "accepted"})
SUPPRESSED = ("text.issued", {"state": "suppressed", "reason": "number.hourly"})


def a_story(*steps: tuple[str, dict[str, Any]]) -> Story:
    request_id, account_id, user_id = uuid4(), uuid4(), uuid4()
    return Story(
        tuple(
            Step(
                service="verifier",
                at=NOON + timedelta(seconds=nth),
                what=what,
                detail=detail,
                request_id=request_id,
                challenge_id=None,
                account_id=account_id,
                user_id=user_id,
            )
            for nth, (what, detail) in enumerate(steps)
        )
    )


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (a_story(), "No service knows it"),
        (a_story(("export.asked", {})), "The risk-evaluator has not judged it for 60 s"),
        (a_story(("assessed", {})), "the verifier has not read that for 60 s"),
        (a_story(("assessed", {}), ("taken", {})), "has not decided it"),
        (
            a_story(("assessed", {"reasons": ["ip.known"]}), ("taken", {}), ("granted", {"with_code": False})),
            "Granted without a code: the account has used this address before (ip.known).",
        ),
        (
            a_story(CHALLENGED, ISSUED, ("answered", {}), ("answered", {}), ("granted", {"with_code": True})),
            "Granted with a code at try 2, 3 s after its text was issued.",
        ),
        (
            a_story(CHALLENGED, ISSUED),
            "Waits for the code that goes to +61 ••••••••06, until 2026-07-01 12:05:00 UTC; 4 tries are left.",
        ),
        (a_story(CHALLENGED, ISSUED), "Its last text: accepted."),
        (
            a_story(
                CHALLENGED,
                SUPPRESSED,
                ("denied", {"reason": "sms.suppressed", "retry_at": "2026-07-01T13:00:00+00:00"}),
            ),
            "Its last text: suppressed (number.hourly). A new request may fare better from 2026-07-01 13:00:00 UTC.",
        ),
    ],
)
def test_what_became_of_it(story: Story, words: str) -> None:
    """Each end, and each state on the way."""
    assert words in outcome_of(story, NOON + timedelta(minutes=1))


@pytest.mark.parametrize("reason", get_args(DenialReason))
def test_every_denial_has_words_of_its_own(reason: str) -> None:
    """And the reason behind them, for whoever looks it up."""
    said = outcome_of(a_story(("denied", {"reason": reason})), NOON)
    assert said.endswith(f"({reason}).")
    assert not said.startswith(f"Denied: {reason} ")

"""Lines of a trace are no wider than the terminal, and whole in a pipe."""

from __future__ import annotations

import pytest

from countersign.cli.trace import step_lines
from countersign.operations.trace import outcome_of
from services.notifier import decide
from tests.unit.cli.test_outcome_of import NOON, a_story

HEAD = "  02:44:03.093     +61 ms  risk_evaluator  assessed            "
DETAILS = [
    "place=203.0.113.198/32",
    "outcome=challenge",
    "reasons=ip.new,export.always",
    "policy_version=local-2+7c07bb87",
]
LONG = "provider_message_id=94b707de-43de-4b7a-8cc8-ad195d419721"
SUPPRESSED = [decide.PAUSED, decide.COUNTRY, decide.LATE, decide.NUMBER_GAP, decide.NUMBER_HOUR, decide.NUMBER_DAY]


@pytest.mark.parametrize("width", [66, 80, 100, 140, 300])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Each detail in one piece, in order; below its step where there is no room beside it."""
    lines = step_lines(HEAD, DETAILS, width)
    assert max(len(line.rstrip()) for line in lines) <= width
    assert lines[0].startswith(HEAD.rstrip())
    assert " ".join(lines).split() == [*HEAD.split(), *DETAILS]


def test_a_detail_wider_than_the_room_begins_further_left() -> None:
    """An id is copied in one piece."""
    lines = step_lines(HEAD, [*DETAILS, LONG], 100)
    assert lines[-1].strip() == LONG
    assert len(lines[-1]) == 100


def test_a_step_is_one_line_in_a_pipe() -> None:
    """So that grep finds a step with all of its details."""
    assert step_lines(HEAD, [*DETAILS, LONG], None) == [HEAD + "  ".join([*DETAILS, LONG])]


@pytest.mark.parametrize("reason", [*SUPPRESSED, decide.ACCOUNT_HOUR])
def test_it_is_told_why_no_text_was_sent(reason: str) -> None:
    """For each reason that the notifier has, in words of its own."""
    issued = ("text.issued", {"state": "suppressed", "reason": reason})
    said = outcome_of(a_story(issued, ("denied", {"reason": "sms.suppressed"})), NOON)
    assert said.startswith("Denied: no text was sent, as ")
    assert said.endswith(" (sms.suppressed).")

"""How long the risk-evaluator's rows stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.retention import KEYS_KEPT, Rule

if TYPE_CHECKING:
    from datetime import timedelta

ASSESSMENTS = """
DELETE FROM assessment WHERE request_id IN (
       SELECT request_id FROM assessment
        WHERE assessed_at < now() - $1::interval
        ORDER BY assessed_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

PLACES = """
DELETE FROM place WHERE (account_id, place, taught_by) IN (
       SELECT account_id, place, taught_by FROM place
        WHERE $1::interval > interval '0' AND last_used_at <= now() - $1::interval
        ORDER BY last_used_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

# A grant teaches by the assessment of its request alone. While one from before the forgetting is kept, a grant of it
# could still bring the place back.
FORGOTTEN = """
DELETE FROM forgotten WHERE ctid = ANY(ARRAY(
       SELECT f.ctid FROM forgotten f
        WHERE f.forgotten_at < now() - $1::interval
          AND NOT EXISTS (SELECT FROM assessment a
                           WHERE a.account_id = f.account_id AND a.requested_at <= f.forgotten_at)
        ORDER BY f.forgotten_at LIMIT $2 FOR UPDATE SKIP LOCKED))
"""


def rules(forget_after: timedelta) -> tuple[Rule, ...]:
    """Return the rules; `forget_after` is the policy's time of an idle place, 0 for ever."""
    return (
        Rule(
            table="assessment",
            kept=KEYS_KEPT,
            statement=ASSESSMENTS,
            why="longer than any topic keeps a request or its grant",
        ),
        Rule(table="place", kept=forget_after, statement=PLACES, why="after its last use: the policy; 0 s for ever"),
        Rule(
            table="forgotten",
            kept=KEYS_KEPT,
            statement=FORGOTTEN,
            why="after the forgetting, and while an assessment from before it is kept: a grant of that one could "
            "bring the place back",
        ),
    )

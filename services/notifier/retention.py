"""How long the notifier's rows stay."""

from __future__ import annotations

from countersign.runtime.retention import KEYS_KEPT, Rule

# A text that is not settled stays: its end is still to be told.
DISPATCHES = """
DELETE FROM dispatch WHERE (challenge_id, send) IN (
    SELECT challenge_id, send FROM dispatch
     WHERE created_at < now() - $1::interval AND settled_at IS NOT NULL
     ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

NOTICES = """
DELETE FROM notice WHERE (event_id, number_id) IN (
    SELECT event_id, number_id FROM notice
     WHERE created_at < now() - $1::interval AND settled_at IS NOT NULL
     ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

PAUSES = """
DELETE FROM pause WHERE pause_id IN (
    SELECT pause_id FROM pause WHERE ended_at < now() - $1::interval ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

RULES = (
    Rule(
        table="dispatch",
        kept=KEYS_KEPT,
        statement=DISPATCHES,
        why="longer than any topic could bring a challenge back; an unsettled one stays",
    ),
    Rule(table="notice", kept=KEYS_KEPT, statement=NOTICES, why="as long as texts with codes; an unsettled one stays"),
    Rule(table="pause", kept=KEYS_KEPT, statement=PAUSES, why="after its end; an open one stays"),
)

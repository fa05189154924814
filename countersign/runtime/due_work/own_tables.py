"""How long rows of the runtime's own tables stay, in the schema of every service."""

from __future__ import annotations

from countersign.runtime.retention import KEYS_KEPT, Rule, stays

SETTLED_LETTERS = """
DELETE FROM dead_letter WHERE (topic, partition, "offset", appended_at) IN (
       SELECT topic, partition, "offset", appended_at FROM dead_letter
        WHERE state IN ('done', 'discarded', 'too_old') AND changed_at < now() - $1::interval
        ORDER BY changed_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

RELEASED_BRAKES = """
DELETE FROM brake WHERE (topic, partition) IN (
       SELECT topic, partition FROM brake
        WHERE released_at < now() - $1::interval
        ORDER BY released_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

DISCARDED_ROWS = """
DELETE FROM outbox WHERE event_id IN (
       SELECT event_id FROM outbox
        WHERE discarded_at < now() - $1::interval
        ORDER BY discarded_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

RULES = (
    Rule(
        table="dead_letter",
        kept=KEYS_KEPT,
        statement=SETTLED_LETTERS,
        why="after it was folded, discarded or redriven too late; one that waits or is parked stays: somebody decides",
    ),
    Rule(table="brake", kept=KEYS_KEPT, statement=RELEASED_BRAKES, why="after its release; a held one stays"),
    Rule(
        table="outbox",
        kept=KEYS_KEPT,
        statement=DISCARDED_ROWS,
        why="after somebody discarded it; one that Kafka has is deleted at once, a parked one stays (alarm)",
    ),
    stays("operation", "the record of what people on call did, a row for each command"),
    stays("replay", "a row for each replay that somebody ran, with its operation"),
    stays("replay_partition", "as its replay"),
    stays("migration", "a row for each migration"),
)

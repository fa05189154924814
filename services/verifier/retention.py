"""How long the verifier's rows stay."""

from __future__ import annotations

from countersign.runtime.retention import KEYS_KEPT, Rule, stays

# Challenges, texts, answers and decisions go with their request. One whose challenge is still open stays: it has no
# decision yet.
REQUESTS = """
DELETE FROM request WHERE request_id IN (
       SELECT r.request_id FROM request r
        WHERE r.taken_at < now() - $1::interval
          AND NOT EXISTS (SELECT FROM challenge c WHERE c.request_id = r.request_id AND c.closed_at IS NULL)
        ORDER BY r.taken_at LIMIT $2 FOR UPDATE OF r SKIP LOCKED)
"""

# A user's next challenge makes it anew. `used_at` is of the last challenge, to the day: every challenge that is counted
# by it has ended long ago.
COUNTERS = """
DELETE FROM counter WHERE (user_id, place_known) IN (
       SELECT user_id, place_known FROM counter
        WHERE failures = 0 AND used_at < now() - $1::interval
        ORDER BY used_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

_WITH_REQUEST = "goes with its request"

RULES = (
    Rule(
        table="request",
        kept=KEYS_KEPT,
        statement=REQUESTS,
        why="longer than any topic could bring a request back; one whose challenge is open stays",
    ),
    Rule(
        table="counter",
        kept=KEYS_KEPT,
        statement=COUNTERS,
        why="after the last challenge, without failures; failures stay until a success or an unlock "
        "(NIST SP 800-63B-4, 3.2.2: consecutive, whatever the time between)",
    ),
    stays("challenge", _WITH_REQUEST),
    stays("send", _WITH_REQUEST),
    stays("answer", _WITH_REQUEST),
    stays("decision", _WITH_REQUEST),
)
